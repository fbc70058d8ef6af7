from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd import throttle as module
from pysaslauthd.throttle import Delay, Throttle

NONE = Delay(0.0)
ADDRESS = b"192.0.2.7"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def guess(throttle: Throttle, count: int, key: bytes = b"penguin", remote: bytes = b"", start: int = 0) -> list[float]:
    """So many different wrong passwords, and the delay of each."""
    return [throttle.failed(key, b"wrong %d" % number, remote).seconds for number in range(start, start + count)]


def test_the_first_wrong_passwords_of_a_user_are_free_then_delays_double_up_to_the_longest() -> None:
    assert guess(Throttle(), 12) == [0, 0, 0, 0, 0, 0.25, 0.5, 1, 2, 3, 3, 3]


def test_a_flood_of_wrong_passwords_is_never_delayed_longer_than_the_longest() -> None:
    throttle = Throttle(free=0, longest=2)
    assert max(guess(throttle, 3000)) == 2


def test_the_same_wrong_password_again_does_not_count() -> None:
    throttle = Throttle(free=1)
    assert [throttle.failed(b"penguin", b"old", ADDRESS) for _ in range(100)] == [NONE] * 100


def test_several_devices_with_old_passwords_do_not_count() -> None:
    throttle = Throttle(free=module.MAX_KNOWN, free_per_address=module.MAX_KNOWN)
    for _ in range(20):
        assert guess(throttle, module.MAX_KNOWN, remote=ADDRESS) == [0] * module.MAX_KNOWN


def test_it_is_delayed_all_the_same_once_others_have_guessed() -> None:
    throttle = Throttle(free=1)
    throttle.failed(b"penguin", b"old", b"")
    guess(throttle, 2)
    assert throttle.failed(b"penguin", b"old", b"").seconds == 0.5
    assert throttle.failed(b"penguin", b"old", b"").seconds == 0.5


def test_the_same_password_counts_for_each_user_whose_it_is_not() -> None:
    throttle = Throttle(free_per_address=2)
    delays = [throttle.failed(b"user %d" % number, b"123456", ADDRESS) for number in range(4)]
    assert delays == [NONE, NONE, Delay(0.25, address=True), Delay(0.5)]


def test_without_an_address_users_do_not_hurt_each_other() -> None:
    throttle = Throttle(free_per_address=0)
    assert [throttle.failed(b"user %d" % number, b"123456", b"") for number in range(100)] == [NONE] * 100


def test_the_longer_delay_of_user_and_address_counts() -> None:
    throttle = Throttle(free=1, free_per_address=3)
    assert guess(throttle, 3, remote=ADDRESS) == [0, 0.25, 0.5]
    assert guess(throttle, 4, key=b"other", remote=ADDRESS) == [0.25, 0.5, 1, 2]


def test_it_tells_once_when_delays_set_in_for_a_user_and_for_an_address() -> None:
    throttle = Throttle(free=1, free_per_address=2)
    told = [throttle.failed(b"penguin", b"wrong %d" % number, ADDRESS)[1:] for number in range(5)]
    assert told == [(False, False), (True, False), (False, True), (False, False), (False, False)]
    assert throttle.failed(b"penguin", b"wrong 4", ADDRESS)[1:] == (False, False)


def test_a_success_starts_the_users_count_anew_and_not_the_addresses() -> None:
    throttle = Throttle(free=2, free_per_address=4)
    assert guess(throttle, 3, remote=ADDRESS) == [0, 0, 0.25]
    throttle.succeeded(b"penguin")
    throttle.succeeded(b"nobody")
    assert guess(throttle, 2, remote=ADDRESS, start=3) == [0, 0.25]  # the fifth from this address


def test_after_a_success_an_old_password_still_does_not_count_for_the_address() -> None:
    throttle = Throttle(free_per_address=1)
    for _ in range(10):
        assert throttle.failed(b"penguin", b"old", ADDRESS) == NONE
        throttle.succeeded(b"penguin")


def test_a_users_failures_count_from_the_last_one_on() -> None:
    clock = Clock()
    throttle = Throttle(free=1, memory=600, clock=clock)
    assert guess(throttle, 2) == [0, 0.25]
    clock.now = 599
    assert guess(throttle, 1, start=2) == [0.5]
    clock.now = 599 + 600
    assert guess(throttle, 1, start=3) == [0]


def test_an_old_password_is_known_for_as_long_as_it_keeps_coming() -> None:
    clock = Clock()
    throttle = Throttle(free=1, free_per_address=1, memory=600, clock=clock)
    for _ in range(50):
        assert throttle.failed(b"penguin", b"old", ADDRESS) == NONE
        clock.now += 500


def test_an_addresss_failures_count_from_the_first_one_on() -> None:
    clock = Clock()
    throttle = Throttle(free_per_address=1, memory=600, clock=clock)
    assert throttle.failed(b"a", b"x", ADDRESS).seconds == 0
    clock.now = 599
    assert throttle.failed(b"b", b"x", ADDRESS).seconds == 0.25
    clock.now = 600
    assert throttle.failed(b"c", b"x", ADDRESS).seconds == 0


def test_trusted_networks_are_exempt() -> None:
    trusted = tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32")))
    throttle = Throttle(free=0, free_per_address=0, trusted=trusted)
    for remote in (b"192.0.2.7", b"192.0.2.9;4567", b"2001:db8::1", b"::ffff:192.0.2.1"):
        assert throttle.failed(b"penguin", b"wrong", remote) == NONE
    for remote in (b"198.51.100.1", b"2001:db9::1", b"", b"hoge.cxm"):
        assert throttle.failed(b"penguin", remote, remote).seconds > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"192.0.2.7", b"192.0.2.7;4567", True),
        (b"192.0.2.7", b"::ffff:192.0.2.7", True),
        (b"2001:db8:0:1::1", b"2001:db8:0:1:ffff::2;25", True),
        (b"192.0.2.7", b"192.0.2.8", False),
        (b"2001:db8:0:1::1", b"2001:db8:0:2::1", False),
    ],
)
def test_which_addresses_are_one(one: bytes, other: bytes, same: bool) -> None:
    throttle = Throttle(free_per_address=1)
    throttle.failed(b"a", b"x", one)
    assert throttle.failed(b"b", b"x", other).address is same


@given(st.binary())
def test_any_bytes_may_stand_in_place_of_an_address(remote: bytes) -> None:
    throttle = Throttle(trusted=(ip_network("192.0.2.0/24"),))
    assert throttle.failed(b"penguin", b"wrong", remote) == NONE


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_USERS", 50)
    monkeypatch.setattr(module, "MAX_ADDRESSES", 50)
    throttle = Throttle()
    for number in range(500):
        throttle.failed(b"user %d" % number, b"x", b"192.0.2.%d" % (number % 256))
        guess(throttle, 20, key=b"penguin")
    assert (len(throttle._users), len(throttle._addresses)) == (50, 50)
    assert max(len(user.known) for user in throttle._users.values()) == module.MAX_KNOWN * module._MARK


def test_what_counts_no_more_is_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(memory=600, clock=clock)
    throttle.failed(b"u0", b"x", b"192.0.2.1")
    clock.now = 300
    throttle.failed(b"u1", b"x", b"192.0.2.2")
    throttle.failed(b"u0", b"y", b"192.0.2.2")
    clock.now = 900
    throttle.failed(b"u2", b"x", b"192.0.2.3")
    assert (list(throttle._users), len(throttle._addresses)) == ([b"u2"], 1)


def test_a_user_who_is_not_delayed_takes_some_350_bytes() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none", exc_type=ImportError)
    throttle = Throttle()
    tracemalloc.start()
    try:
        for number in range(3 * module.MAX_USERS):
            user = b"u%d" % number
            throttle.failed(b"%b\0hoge.cxm" % user, b"wrong", b"", b"%b@hoge.cxm" % user)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / module.MAX_USERS < 350


def test_no_password_stays_in_it() -> None:
    throttle = Throttle()
    throttle.failed(b"penguin", b"secret-1", b"")
    (user,) = throttle._users.values()
    assert b"secret" not in user.known


def test_it_names_who_is_delayed() -> None:
    clock = Clock()
    throttle = Throttle(free=2, free_per_address=4, memory=600, clock=clock)
    for number in range(2):
        throttle.failed(b"penguin\0hoge.cxm", b"guess %d" % number, b"192.0.2.7;4567", b"penguin@hoge.cxm")
        throttle.failed(b"u0", b"guess %d" % number, b"2001:db8::1", b"u0@hoge.cxm")
    throttle.failed(b"u1", b"guess", b"192.0.2.7", b"u1@hoge.cxm")
    assert throttle.delayed() == ([b"penguin@hoge.cxm", b"u0@hoge.cxm"], [])
    for number in range(2):
        throttle.failed(b"u%d" % number, b"other", b"192.0.2.7")
        throttle.failed(b"u%d" % number, b"another", b"2001:db8::2")
    throttle.succeeded(b"u0")
    assert throttle.delayed().addresses == ["192.0.2.7", "2001:db8::/64"]
    assert b"penguin@hoge.cxm" in throttle.delayed().users
    clock.now = 600
    assert throttle.delayed() == ([], [])
