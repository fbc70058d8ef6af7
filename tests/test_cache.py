from __future__ import annotations

from pysaslauthd.cache import Cache, Origin

ORIGIN = Origin(b"penguin@hoge.cxm", b"uid=penguin,ou=People,dc=hoge,dc=cxm")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_what_was_stored_and_nothing_else() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin\0hoge.cxm", b"penguin-pass", ORIGIN)
    assert cache.holds(b"penguin\0hoge.cxm", b"penguin-pass")
    assert not cache.holds(b"penguin\0hoge.cxm", b"wrong")
    assert not cache.holds(b"penguin\0hoge.cxm", b"")
    assert not cache.holds(b"penguin", b"penguin-pass")
    assert len(cache) == 1


def test_a_wrong_password_changes_nothing() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin", b"penguin-pass", ORIGIN)
    for number in range(100):
        assert not cache.holds(b"penguin", b"wrong %d" % number)
    assert cache.holds(b"penguin", b"penguin-pass")
    assert len(cache) == 1


def test_a_new_password_replaces_the_old() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin", b"old", ORIGIN)
    cache.store(b"penguin", b"new", ORIGIN)
    assert cache.holds(b"penguin", b"new")
    assert not cache.holds(b"penguin", b"old")


def test_an_entry_ends_with_its_lifetime_and_a_hit_does_not_renew_it() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN)
    clock.now = 3599.9
    assert cache.holds(b"penguin", b"penguin-pass")
    clock.now = 3600.0
    assert not cache.holds(b"penguin", b"penguin-pass")


def test_storing_again_begins_a_new_lifetime() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN)
    clock.now = 3000
    cache.store(b"penguin", b"penguin-pass", ORIGIN)
    clock.now = 6599
    assert cache.holds(b"penguin", b"penguin-pass")


def test_beyond_its_size_the_least_recently_used_goes() -> None:
    cache = Cache(3, 3600)
    for name in (b"a", b"b", b"c"):
        cache.store(name, b"x", ORIGIN)
    assert cache.holds(b"a", b"x")
    cache.store(b"d", b"x", ORIGIN)
    assert len(cache) == 3
    assert not cache.holds(b"b", b"x")
    assert cache.holds(b"a", b"x")


def test_past_its_lifetime_an_entry_is_stale_for_as_long_as_was_said() -> None:
    clock = Clock()
    cache = Cache(10, 3600, stale=600, clock=clock)
    cache.store(b"penguin", b"penguin-pass", ORIGIN)
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
        cache.store(b"penguin", b"penguin-pass", ORIGIN)
        clock.now = now
        cache.forget(b"penguin", b"wrong")
        cache.forget(b"somebody", b"penguin-pass")
        assert cache.holds_stale(b"penguin", b"penguin-pass")
        cache.forget(b"penguin", b"penguin-pass")
        assert not cache.holds_stale(b"penguin", b"penguin-pass")


def test_no_password_stays_in_it() -> None:
    cache = Cache(10, 3600)
    password = b"penguin-" + b"pass-1234567890"
    cache.store(b"penguin", password, ORIGIN)
    kept = [field for entry in cache._entries.values() for field in entry]
    assert not any(password in field for field in kept if isinstance(field, bytes))
    assert password not in repr(cache._entries).encode()


def test_dropping_takes_the_entries_of_an_origin_and_says_how_many() -> None:
    cache = Cache(10, 3600)
    cache.store(b"penguin\0imap", b"x", ORIGIN)
    cache.store(b"penguin\0smtp", b"x", ORIGIN)
    cache.store(b"u0", b"x", Origin(b"u0@hoge.cxm", b""))
    assert cache.drop(lambda origin: origin.dn == ORIGIN.dn) == 2
    assert not cache.holds(b"penguin\0imap", b"x")
    assert cache.holds(b"u0", b"x")
    assert cache.drop(lambda _: True) == 1
    assert len(cache) == 0
    assert cache.drops == 2


def test_dropping_passes_over_what_has_ended() -> None:
    clock = Clock()
    cache = Cache(10, 3600, clock=clock)
    cache.store(b"penguin", b"x", ORIGIN)
    clock.now = 3600
    assert cache.drop(lambda _: True) == 0
