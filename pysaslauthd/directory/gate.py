"""A bound on how many flows are past a point at once; the others wait in order of arrival, as long as that makes sense.

Whoever cannot have a turn in time is told so as soon as that can be known, and not when it is too late: clients that
wait in vain hold connections, and try again on top.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pysaslauthd.directory.deliver import deliver, deliver_failure
from pysaslauthd.errors import DirectoryError, DirectoryOverloaded, DirectoryTimeout
from pysaslauthd.flow import Reply

_MEASURE = 1 / 8
"""Share of the patience for which turns are counted at least before they make a measure of the pace."""


class _Waiting(NamedTuple):
    until: float
    place: Reply[None]


class Gate:
    """At most ``limit`` flows between :meth:`enter` and :meth:`leave`; 0 lets all pass.

    :param patience: seconds after which a flow that still waits is not let in any more.
    :param answering: whether what is behind the gate answers at all: then whoever is not let in hears
        DirectoryOverloaded, otherwise DirectoryTimeout.
    """

    def __init__(self, limit: int, patience: float, answering: Callable[[], bool] = lambda: True) -> None:
        self._limit = limit
        self._patience = patience
        self._answering = answering
        self._loop = asyncio.get_running_loop()
        self._inside = 0
        self._waiting: deque[_Waiting] = deque()
        self._pace = 0.0
        """Seconds for ``limit`` turns, the less of the last two measures; 0 while nobody can tell."""
        self._measured = 0.0
        self._counted_from = 0.0
        self._turns = 0
        self._admitting = False

    @property
    def inside(self) -> int:
        """Flows past the gate now."""
        return self._inside

    def passes(self) -> bool:
        """Take a place if one is free, as nearly always; then it needs one leave."""
        if self._limit and (self._inside >= self._limit or self._waiting):
            return False
        self._inside += 1
        return True

    async def enter(self) -> None:
        """Wait for a place and take it. Each enter needs one leave, unless it raises.

        :raises DirectoryOverloaded: no place comes free in time, others are served.
        :raises DirectoryTimeout: the same where nobody is served.
        """
        if self.passes():
            return
        ahead = len(self._waiting)
        if ahead // self._limit * self._pace > self._patience:
            raise self._refusal()
        now = self._loop.time()
        if not ahead:
            self._counted_from = now
        place: Reply[None] = Reply()
        self._waiting.append(_Waiting(now + self._patience, place))
        await place  # leave() has taken it for us

    def leave(self) -> None:
        """Give the place back; the flow that has waited longest runs up to its next wait before this returns."""
        self._inside -= 1
        # A flow that is let in may leave at once. The loop that let it in then goes on: no recursion.
        if not self._waiting or self._admitting:
            return
        self._admitting = True
        try:
            self._admit()
        finally:
            self._admitting = False

    def _admit(self) -> None:
        now = self._loop.time()
        while self._waiting and self._inside < self._limit:
            first = self._waiting.popleft()
            if first.until < now:
                deliver_failure(first.place, self._refusal())
                continue
            self._count(now)
            if self._pace:
                self._turn_away(now)
            self._inside += 1
            deliver(first.place, None)
        if not self._waiting:
            self._pace = self._measured = 0.0
            self._turns = 0

    def _count(self, now: float) -> None:
        """Learn from a turn how quickly they follow each other, anew again and again.

        One long measure alone tells nothing: a server that hung and was given up makes one, and the next is quick.
        """
        self._turns += 1
        seconds = now - self._counted_from
        if self._turns >= self._limit and seconds >= self._patience * _MEASURE:
            measured = seconds / self._turns * self._limit
            self._pace = min(measured, self._measured)
            self._measured = measured
            self._counted_from = now
            self._turns = 0

    def _turn_away(self, now: float) -> None:
        """Refuse those at the end whose turn would come too late."""
        while self._waiting:
            turn = now + (len(self._waiting) - 1) // self._limit * self._pace
            if turn <= self._waiting[-1].until:
                return
            deliver_failure(self._waiting.pop().place, self._refusal())

    def _refusal(self) -> DirectoryError:
        text = f"no turn within {self._patience:g} s, with {self._limit} requests under way"
        if self._answering():
            return DirectoryOverloaded(text)
        return DirectoryTimeout(text, silent=False)
