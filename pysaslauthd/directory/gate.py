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


class _Waiting(NamedTuple):
    since: float
    ahead: int
    """How many waited already."""
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
        self._stay = 0.0
        """Seconds that a flow is inside, as those who waited have seen it; 0 while nobody can tell."""
        self._admitting = False

    @property
    def inside(self) -> int:
        """Flows past the gate now."""
        return self._inside

    async def enter(self) -> None:
        """Wait for a place and take it. Each enter needs one leave, unless it raises.

        :raises DirectoryOverloaded: no place comes free in time, others are served.
        :raises DirectoryTimeout: the same where nobody is served.
        """
        if self._limit and (self._inside >= self._limit or self._waiting):
            ahead = len(self._waiting)
            if ahead // self._limit * self._stay > self._patience:
                raise self._refusal()
            place: Reply[None] = Reply()
            self._waiting.append(_Waiting(self._loop.time(), ahead, place))
            await place  # leave() has taken it for us
        else:
            self._inside += 1

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
            if first.since + self._patience < now:
                deliver_failure(first.place, self._refusal())
                continue
            # Whoever had fewer ahead than there are places saw a part of one stay, which tells nothing of the next.
            if rounds := first.ahead // self._limit:
                self._learn((now - first.since) / (rounds + 1))
                self._turn_away(now)
            self._inside += 1
            deliver(first.place, None)
        if not self._waiting:
            self._stay = 0.0

    def _learn(self, stay: float) -> None:
        # One that takes long among many that do not should turn nobody away.
        self._stay = stay if stay < self._stay or not self._stay else self._stay + (stay - self._stay) / 8

    def _turn_away(self, now: float) -> None:
        """Refuse those at the end whose turn would come too late."""
        while self._waiting:
            turn = now + (len(self._waiting) - 1) // self._limit * self._stay
            if turn <= self._waiting[-1].since + self._patience:
                return
            deliver_failure(self._waiting.pop().place, self._refusal())

    def _refusal(self) -> DirectoryError:
        text = f"no turn within {self._patience:g} s, with {self._limit} requests under way"
        if self._answering():
            return DirectoryOverloaded(text)
        return DirectoryTimeout(text, silent=False)
