"""How many logins there are now, and how fast they are answered."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

WINDOW = 10.0
"""Seconds that are "now": short enough for a change to show, long enough for a small site to have logins in it."""
MAX_LOGINS = 2048
"""The most logins that are remembered, 150 kB; where there are more in the window, "now" is shorter."""
_LEAST = 1.0
"""Seconds after the start before which there is no telling a rate."""


class Now(NamedTuple):
    """The logins of the last seconds: a rate, and the seconds within which half of them, and 99 of 100, were answered.

    None where there were none.
    """

    per_second: float
    median: float | None
    p99: float | None


class Pace:
    """Remembers when the last logins were answered and how long they took.

    :param clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._logins: deque[tuple[float, float]] = deque(maxlen=MAX_LOGINS)

    def login(self, seconds: float) -> None:
        """Note a login that took so long; costs some 0.1 µs."""
        self._logins.append((self._clock(), seconds))

    def now(self) -> Now:
        """What the last seconds were like."""
        now = self._clock()
        begin = max(now - WINDOW, min(self._started, now - _LEAST))
        if len(self._logins) == MAX_LOGINS:  # earlier ones are forgotten
            begin = max(begin, self._logins[0][0])
        durations = sorted(seconds for at, seconds in self._logins if at >= begin)
        if not durations:
            return Now(0.0, None, None)
        return Now(len(durations) / (now - begin), _quantile(durations, 0.5), _quantile(durations, 0.99))


def _quantile(ascending: list[float], share: float) -> float:
    """The least value that so large a share of all does not exceed (nearest rank)."""
    return ascending[math.ceil(share * len(ascending)) - 1]
