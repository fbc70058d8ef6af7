from __future__ import annotations

import pytest

from pysaslauthd.pace import MAX_LOGINS, WINDOW, Now, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_logins_there_is_no_duration() -> None:
    assert Pace().now() == Now(0.0, None, None)


def test_the_rate_is_over_the_window_and_durations_are_of_its_logins() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.login(9.0)
    clock.now += WINDOW + 1
    for number in range(100):
        pace.login(number / 1000)
    assert pace.now() == Now(100 / WINDOW, 0.049, 0.098)
    clock.now += WINDOW + 1
    assert pace.now() == Now(0.0, None, None)


def test_soon_after_the_start_the_rate_is_over_the_time_since() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.login(0.001)
    assert pace.now().per_second == 1.0
    clock.now += 2
    assert pace.now().per_second == 0.5


def test_beyond_what_is_remembered_the_window_is_shorter_and_the_rate_still_right() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3 * MAX_LOGINS):
        clock.now += 0.001
        pace.login(0.001)
    assert pace.now().per_second == pytest.approx(1000, rel=0.01)
    assert len(pace._logins) == MAX_LOGINS
