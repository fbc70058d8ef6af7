from __future__ import annotations

import math

import pytest

from pysaslauthd.cache import UNUSED_NAMES, Cache, Origin
from pysaslauthd.freshness import MAX_CHANGES, Coverage

ORIGIN = Origin(b"penguin@hoge.cxm")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_what_was_stored_and_nothing_else() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin\0hoge.cxm", b"penguin-pass", ORIGIN, cache.moment())
    assert cache.holds(b"penguin\0hoge.cxm", b"penguin-pass")
    assert not cache.holds(b"penguin\0hoge.cxm", b"wrong")
    assert not cache.holds(b"penguin\0hoge.cxm", b"")
    assert not cache.holds(b"penguin", b"penguin-pass")
    assert len(cache) == 1


def test_a_wrong_password_changes_nothing() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
    for number in range(100):
        assert not cache.holds(b"penguin", b"wrong %d" % number)
    assert cache.holds(b"penguin", b"penguin-pass")
    assert len(cache) == 1


def test_a_new_password_replaces_the_old() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin", b"old", ORIGIN, cache.moment())
    cache.store(b"penguin", b"new", ORIGIN, cache.moment())
    assert cache.holds(b"penguin", b"new")
    assert not cache.holds(b"penguin", b"old")


def test_an_entry_ends_with_its_lifetime_and_a_hit_does_not_renew_it() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
    clock.now = 3599.9
    assert cache.holds(b"penguin", b"penguin-pass")
    clock.now = 3600.0
    assert not cache.holds(b"penguin", b"penguin-pass")


def test_storing_again_begins_a_new_lifetime() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
    clock.now = 3000
    cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
    clock.now = 6599
    assert cache.holds(b"penguin", b"penguin-pass")


def test_beyond_its_size_the_least_recently_used_goes() -> None:
    cache = Cache(3, 3600)
    for name in (b"a", b"b", b"c"):
        cache.store(name, b"x", ORIGIN, cache.moment())
    assert cache.holds(b"a", b"x")
    cache.store(b"d", b"x", ORIGIN, cache.moment())
    assert len(cache) == 3
    assert not cache.holds(b"b", b"x")
    assert cache.holds(b"a", b"x")


def test_past_its_lifetime_an_entry_is_stale_for_as_long_as_was_said() -> None:
    clock = Clock()
    cache = Cache(10, 3600, stale=600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
    clock.now = 3600.0
    assert not cache.holds(b"penguin", b"penguin-pass")
    assert cache.holds_stale(b"penguin", b"penguin-pass")
    assert not cache.holds_stale(b"penguin", b"wrong")
    clock.now = 4200.0
    assert not cache.holds_stale(b"penguin", b"penguin-pass")
    assert len(cache) == 0


def test_a_password_that_was_refused_is_forgotten_and_no_other() -> None:
    clock = Clock()
    cache = Cache(10, 3600, stale=600, clock=clock)
    for now in (0.0, 3700.0):
        clock.now = 0.0
        cache.store(b"penguin", b"penguin-pass", ORIGIN, cache.moment())
        clock.now = now
        cache.forget(b"penguin", b"wrong")
        cache.forget(b"somebody", b"penguin-pass")
        assert cache.holds_stale(b"penguin", b"penguin-pass")
        cache.forget(b"penguin", b"penguin-pass")
        assert not cache.holds_stale(b"penguin", b"penguin-pass")


def test_no_password_stays_in_it() -> None:
    cache = Cache(10, 3600)
    password = b"penguin-" + b"pass-1234567890"
    cache.store(b"penguin", password, ORIGIN, cache.moment())
    kept = [field for entry in cache._entries.values() for field in entry]
    assert not any(password in field for field in kept if isinstance(field, bytes))
    assert password not in repr(cache._entries).encode()


def test_dropping_takes_the_entries_of_an_origin_and_says_how_many() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin\0imap", b"x", ORIGIN, cache.moment())
    cache.store(b"penguin\0smtp", b"x", ORIGIN, cache.moment())
    cache.store(b"u0", b"x", Origin(b"u0@hoge.cxm"), cache.moment())
    assert cache.drop(lambda whose: whose == ORIGIN.address) == 2
    assert not cache.holds(b"penguin\0imap", b"x")
    assert cache.holds(b"u0", b"x")
    assert cache.drop(lambda _: True) == 1
    assert len(cache) == 0


def test_dropping_passes_over_what_has_ended() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"x", ORIGIN, cache.moment())
    clock.now = 3600
    assert cache.drop(lambda _: True) == 0


def test_what_has_ended_goes_with_what_is_remembered_after_another_lifetime() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    for name, at in ((b"a", 0), (b"b", 1), (b"c", 1000)):
        clock.now = at
        cache.store(name, b"x", ORIGIN, cache.moment())
    clock.now = 3600.5
    cache.store(b"d", b"x", ORIGIN, cache.moment())
    assert set(cache._entries) == {b"b", b"c", b"d"}
    clock.now = 4600
    assert len(cache) == 1


def test_a_login_that_is_remembered_takes_some_500_bytes() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none", exc_type=ImportError)
    cache = Cache(10_000, 3600)
    tracemalloc.start()
    try:
        for number in range(30_000):
            user = b"u%d" % number
            cache.store(b"%b\0hoge.cxm" % user, b"%b-pass" % user, Origin(b"%b@hoge.cxm" % user), cache.moment())
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(cache) == 10_000
    assert taken / len(cache) < 600


# What a watch tells

NAME = b"uid=penguin,ou=people,dc=hoge,dc=cxm"
UUID = b"9ad84d407c28104186a9f9bbd50c5122"
WATCHED = ORIGIN._replace(names=(NAME, UUID))


class Rig:
    """A cache that should be watched, and a clock."""

    def __init__(self, *, stale: float = 0.0, revalidate: float = math.inf) -> None:
        self.clock = Clock()
        self.cache = Cache(100, 3600, stale=stale, clock=self.clock)
        self.watch = self.cache.cover("", Coverage(grace=10, revalidate=revalidate, clock=self.clock))

    def store(self, origin: Origin = WATCHED) -> None:
        self.cache.store(b"penguin", b"x", origin, self.cache.moment())

    def held(self, seconds: float = 0.0) -> bool:
        self.clock.now += seconds
        return self.cache.holds(b"penguin", b"x")


@pytest.mark.parametrize("changed", [(NAME,), (UUID,), (b"cn=other", NAME)])
def test_what_hangs_on_a_changed_entry_is_forgotten_and_nothing_else(changed: tuple[bytes, ...]) -> None:
    rig = Rig()
    rig.watch.watched()
    rig.store()
    rig.cache.store(b"u0", b"x", Origin(b"u0", (b"uid=u0",)), rig.cache.moment())
    assert rig.watch.changed((b"cn=other",)) == 0
    assert rig.held(3000)
    assert rig.watch.changed(changed) == 1
    assert not rig.held()
    assert rig.cache.holds(b"u0", b"x")


def test_what_was_asked_before_a_change_and_answered_after_it_is_not_remembered() -> None:
    rig = Rig()
    rig.watch.watched()
    before = rig.cache.moment()
    rig.watch.changed((b"uid=u0",))
    rig.cache.store(b"penguin", b"x", WATCHED, before)
    assert rig.held()
    rig.watch.changed((NAME,))
    rig.cache.store(b"penguin", b"x", WATCHED, before)
    assert not rig.held()
    rig.store()
    assert rig.held()


def test_what_was_asked_before_more_changes_than_are_kept_is_not_remembered() -> None:
    rig = Rig()
    rig.watch.watched()
    before = rig.cache.moment()
    for number in range(MAX_CHANGES):
        rig.watch.changed((b"uid=u%d" % number,))
    rig.cache.store(b"penguin", b"x", WATCHED, before)
    assert rig.held()
    rig.watch.changed((b"uid=one more",))
    rig.cache.store(b"u0", b"x", Origin(b"u0", (b"uid=z",)), before)
    assert not rig.cache.holds(b"u0", b"x")


def test_a_renamed_branch_takes_all_below_it_along() -> None:
    rig = Rig()
    rig.watch.watched()
    before = rig.cache.moment()
    rig.store()
    assert rig.watch.changed_below(b"ou=peopl,dc=hoge,dc=cxm") == 0
    assert rig.watch.changed_below(b"ou=people,dc=hoge,dc=cxm") == 1
    assert not rig.held()
    rig.cache.store(b"penguin", b"x", WATCHED, before)
    assert not rig.held(), "it was asked before"


def test_without_its_watch_an_entry_is_trusted_for_the_grace() -> None:
    rig = Rig()
    rig.store()
    assert rig.held(9.9)
    assert not rig.held(0.1)
    rig.watch.watched()
    rig.store()
    assert rig.held(2000)
    rig.watch.lost()
    assert not rig.held(), "older than the grace"
    rig.store()
    rig.watch.lost()
    assert rig.held(9.9)
    assert not rig.held(0.1)


def test_with_its_watch_back_all_that_was_asked_before_goes() -> None:
    rig = Rig()
    rig.watch.watched()
    rig.store()
    rig.watch.lost()
    asked = rig.cache.moment()
    rig.clock.now += 1
    rig.watch.watched()
    assert not rig.held()
    rig.cache.store(b"penguin", b"x", WATCHED, asked)
    assert not rig.held()
    rig.store()
    assert rig.held(3000)


def test_an_entry_whose_changes_nobody_tells_is_trusted_for_the_grace() -> None:
    rig = Rig()
    rig.watch.watched()
    rig.store(ORIGIN)
    assert rig.held(9.9)
    assert not rig.held(0.1)


def test_what_is_not_trusted_is_stale_from_then_on_for_as_long_as_was_said() -> None:
    rig = Rig(stale=600)
    rig.watch.watched()
    rig.store()
    rig.clock.now = 100
    rig.watch.lost()
    assert not rig.held()
    rig.clock.now = 699.9
    assert rig.cache.holds_stale(b"penguin", b"x")
    rig.clock.now = 700
    assert not rig.cache.holds_stale(b"penguin", b"x")
    rig.store()
    rig.clock.now = 1309.9
    assert rig.cache.holds_stale(b"penguin", b"x"), "600 s after its grace"
    rig.clock.now = 1310
    assert not rig.cache.holds_stale(b"penguin", b"x")


def test_what_has_changed_is_not_stale_either() -> None:
    rig = Rig(stale=600)
    rig.watch.watched()
    rig.store()
    rig.watch.changed((NAME,))
    assert not rig.cache.holds_stale(b"penguin", b"x")


def test_by_default_what_is_not_trusted_is_not_stale() -> None:
    rig = Rig()
    rig.watch.watched()
    rig.store()
    rig.clock.now = 100
    rig.watch.lost()
    assert not rig.cache.holds_stale(b"penguin", b"x")


def test_where_nothing_can_be_watched_entries_fall_due_if_that_is_wanted() -> None:
    rig = Rig(revalidate=60)
    rig.watch.unwatchable()
    rig.store(ORIGIN)
    assert rig.held(59)
    assert not rig.cache.due(b"penguin")
    assert rig.held(1)
    assert rig.cache.due(b"penguin")
    rig.watch.watched()
    rig.store()
    assert rig.held(3000)
    assert not rig.cache.due(b"penguin")


def test_where_nothing_can_be_watched_the_grace_holds_otherwise() -> None:
    rig = Rig()
    rig.watch.unwatchable()
    rig.store()
    assert rig.held(9.9)
    assert not rig.held(0.1)


def test_without_a_watch_all_is_trusted_and_falls_due() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.cover("", Coverage(revalidate=60, clock=clock))
    cache.store(b"penguin", b"x", ORIGIN, cache.moment())
    assert not cache.due(b"penguin")
    clock.now = 60
    assert cache.holds(b"penguin", b"x")
    assert cache.due(b"penguin")
    assert not cache.due(b"somebody")


def test_names_of_entries_that_are_gone_do_not_pile_up() -> None:
    rig = Rig()
    rig.watch.watched()
    for number in range(5000):
        origin = Origin(b"", (b"uid=u%d" % number, b"%032x" % number))
        rig.cache.store(b"u%d" % number, b"x", origin, rig.cache.moment())
    assert len(rig.cache) == 100
    assert len(rig.cache._keys) <= UNUSED_NAMES + 300
    assert rig.watch.changed((b"uid=u4999",)) == 1


def test_each_directory_is_trusted_as_far_as_its_own_watch_says() -> None:
    rig = Rig()
    other = rig.cache.cover("realm", Coverage(grace=10, clock=rig.clock))
    rig.watch.watched()
    other.watched()
    rig.store()
    rig.cache.store(b"u0", b"x", Origin(b"u0", (b"uid=u0",), "realm"), rig.cache.moment())
    rig.clock.now = 20
    other.lost()
    assert rig.held()
    assert not rig.cache.holds(b"u0", b"x")
    rig.watch.changed_any()
    assert not rig.held()
    rig.store()
    other.watched()
    assert rig.held()
    rig.cache.cover("realm", Coverage(grace=10, clock=rig.clock)).watched()
    other.lost()
    rig.cache.store(b"u0", b"x", Origin(b"u0", (b"uid=u0",), "realm"), rig.cache.moment())
    rig.clock.now += 20
    assert rig.cache.holds(b"u0", b"x"), "the watch before has no say any more"
