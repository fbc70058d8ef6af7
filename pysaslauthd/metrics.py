"""What the daemon counts: logins by outcome, and how long logins and operations of the directory took.

Plain numbers, written on the way of a login and read by whoever shows them. What another part knows at any moment
(entries of the cache, connections) is read there when it is shown, and not kept here. Nothing is counted by a name
that a client sends, so that there is a known number of numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal, get_args

from pysaslauthd.model import Door, Outcome, Reason, Verdict

Operation = Literal["search", "compare", "bind"]
Fault = Literal["malformed", "incomplete", "late", "full"]
"""Why a connection brought no login: what came is against the protocol or too large; it ended in the middle of a
request; no whole request came in time; too many connections were open."""

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Upper bounds in seconds of a histogram's counts, the last of which has none: from a login out of the cache, some
50 µs, to the deadline of 4 s."""

_NEVER_ASKED = frozenset(
    each.value for each in (Reason.EMPTY_LOGIN, Reason.EMPTY_PASSWORD, Reason.NUL_IN_LOGIN, Reason.NUL_IN_PASSWORD)
)
"""What is refused before the cache is looked into."""


class Histogram:
    """Counts of durations. ``counts[i]`` are those of at most ``BOUNDS[i]`` and more than the bound before.

    ``total`` is the sum of all durations in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class _Logins:
    __slots__ = ("count", "seconds")

    def __init__(self, seconds: Histogram) -> None:
        self.count = 0
        self.seconds = seconds


class Metrics:
    """All counters of one daemon, from its start on. Lives on the event loop's thread."""

    def __init__(self) -> None:
        self.login_seconds = {(verdict, cached): Histogram() for verdict in Verdict for cached in (False, True)}
        """By verdict, and whether the cache answered."""
        self.operation_seconds: dict[tuple[Operation, bool], Histogram] = {
            (operation, answered): Histogram() for operation in get_args(Operation) for answered in (True, False)
        }
        """By operation, and whether there was a usable answer."""
        self._logins = {
            (door, reason.value, cached): _Logins(self.login_seconds[reason.verdict, cached])
            for door in get_args(Door)
            for reason in Reason
            for cached in (False, True)
        }

    def login(self, door: Door, outcome: Outcome, seconds: float) -> None:
        """Count one login; costs some 0.4 µs."""
        # The value, since hashing a member is a call of Python.
        logins = self._logins[door, outcome.reason._value_, outcome.cached]
        logins.count += 1
        histogram = logins.seconds
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.total += seconds

    def operation(self, operation: Operation, seconds: float, answered: bool) -> None:
        """Count one operation of the directory."""
        histogram = self.operation_seconds[operation, answered]
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.total += seconds

    def logins(self) -> Iterator[tuple[Door, Reason, int]]:
        """How many logins of each door had each reason, those with none too."""
        for (door, reason, cached), asked in self._logins.items():
            if not cached:
                yield door, Reason(reason), asked.count + self._logins[door, reason, True].count

    @property
    def cache_hits(self) -> int:
        """Logins that the cache answered."""
        return sum(logins.count for (_, _, cached), logins in self._logins.items() if cached)

    @property
    def cache_misses(self) -> int:
        """Logins that it could not answer, or could not have answered where there is none."""
        return sum(
            logins.count
            for (_, reason, cached), logins in self._logins.items()
            if not cached and reason not in _NEVER_ASKED
        )
