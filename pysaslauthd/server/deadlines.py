"""One time limit for many connections, at the price of one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls ``expire(item)`` for each item that was added and not discarded within ``seconds``.

    All have the same limit, so they fall due in the order in which they were added, and only the oldest
    needs a timer. Belongs to the event loop that runs when the first item is added.
    """

    def __init__(self, seconds: float, expire: Callable[[T], None]) -> None:
        self.seconds = seconds
        self._expire = expire
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._due)

    def add(self, item: T) -> None:
        """Start the item's time; an item must not be added twice without a discard between."""
        loop = asyncio.get_running_loop()
        self._due[item] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._sweep)

    def discard(self, item: T) -> None:
        """Forget the item, if it is here; the timer is left to find nothing due."""
        self._due.pop(item, None)

    def stop(self) -> None:
        """Forget all items and the timer."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        expired = []
        for item, due in self._due.items():
            if due > now:
                self._timer = loop.call_at(due, self._sweep)
                break
            expired.append(item)
        for item in expired:
            if self._due.pop(item, None) is not None:  # else discarded while another one expired
                self._expire(item)
