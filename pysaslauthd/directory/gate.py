"""A bound on how many flows are past a point at once; the others wait in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from pysaslauthd.directory.deliver import deliver, deliver_failure
from pysaslauthd.errors import DirectoryTimeout
from pysaslauthd.flow import Reply


class Gate:
    """At most ``limit`` flows between :meth:`enter` and :meth:`leave`; 0 lets all pass.

    How many wait is bounded by who sends flows here: one login stands in one queue.

    :param patience: seconds after which a flow that still waits is not let in any more.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._inside = 0
        self._waiting: deque[tuple[float, Reply[None]]] = deque()
        self._admitting = False

    @property
    def inside(self) -> int:
        """Flows past the gate now."""
        return self._inside

    async def enter(self) -> None:
        """Wait for a place and take it. Each enter needs one leave, unless it raises.

        :raises DirectoryTimeout: no place came free in time.
        """
        if self._limit and (self._inside >= self._limit or self._waiting):
            place: Reply[None] = Reply()
            self._waiting.append((self._loop.time() + self._patience, place))
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
            until, place = self._waiting.popleft()
            if until < now:
                late = f"no turn within {self._patience:g} s, with {self._limit} requests under way"
                deliver_failure(place, DirectoryTimeout(late, silent=False))
            else:
                self._inside += 1
                deliver(place, None)
