"""A bound on how many flows are past a point at once; the others wait in order of arrival."""

from __future__ import annotations

from collections import deque

from pysaslauthd.flow import Reply


class Gate:
    """At most ``limit`` flows between :meth:`enter` and :meth:`leave`; 0 lets all pass.

    How many wait is bounded by who sends flows here: one login stands in one queue.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._waiting: deque[Reply[None]] = deque()

    @property
    def inside(self) -> int:
        """Flows past the gate now."""
        return self._inside

    async def enter(self) -> None:
        """Wait for a place and take it. Each enter needs one leave."""
        if self._limit and self._inside >= self._limit:
            place: Reply[None] = Reply()
            self._waiting.append(place)
            await place  # leave() hands its own place over
        else:
            self._inside += 1

    def leave(self) -> None:
        """Give the place to the flow that has waited longest, or back."""
        if self._waiting:
            self._waiting.popleft().set(None)
        else:
            self._inside -= 1
