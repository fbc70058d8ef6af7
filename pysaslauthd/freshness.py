"""How long what a directory once said is taken for true: by its age, and by what a watch tells of changes.

A watch tells which entries have changed, under their names. While there should be one and is none, what was asked is
trusted for a few seconds only (``grace``); when it is back, what was asked before it was is not trusted at all, as a
change may have been missed. Where there can be none, answers are checked again at times (``revalidate``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

MAX_CHANGES = 8192
"""Changed names kept for the logins that are being asked meanwhile, 200 bytes each: the changes of 4 s, a login's
longest, at 2,000 a second. Where there were more, those logins are not remembered."""


class Moment(NamedTuple):
    """When something was asked. ``number`` counts the changes that had been told by then."""

    at: float
    number: int


class Freshness:
    """What is trusted. Without ``grace`` there is no watch, and everything is.

    :param grace: seconds for which an answer is trusted while no watch covers it.
    :param revalidate: seconds after which an answer is to be checked, where there is no watch.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self, *, grace: float | None = None, revalidate: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.check_after = revalidate if grace is None else math.inf
        """Seconds after which an answer is to be checked behind the scenes."""
        self._grace = grace
        self._revalidate = revalidate
        self._by_name = grace is not None
        self._since = -math.inf
        self._gap = None if grace is None else clock()
        self._changes: dict[bytes, int] = {}
        self._number = 0
        self._forgotten = 0

    # -- told by a watch

    def watched(self) -> None:
        """From now on every change is told; before, one may have been missed."""
        self._since, self._gap = self.clock(), None
        self._by_name, self.check_after = self._grace is not None, math.inf

    def lost(self) -> None:
        """From now on changes may be missed."""
        if self._gap is None:
            self._gap = self.clock()
        self._by_name, self.check_after = self._grace is not None, math.inf

    def unwatchable(self) -> None:
        """No change will ever be told: checks take the watch's place where they are wanted, and grace where not."""
        if self._revalidate < math.inf:
            self._gap = None
            self._by_name, self.check_after = False, self._revalidate

    def changed(self, names: Iterable[bytes]) -> None:
        """Entries have changed; who asked about them before does not know it."""
        self._number += 1
        for name in names:
            self._changes.pop(name, None)
            self._changes[name] = self._number
        while len(self._changes) > MAX_CHANGES:
            self._forgotten = self._changes.pop(next(iter(self._changes)))

    def changed_any(self) -> None:
        """Any entry may have changed."""
        self._number += 1
        self._changes.clear()
        self._forgotten = self._number

    # -- asked by who remembers answers

    def moment(self) -> Moment:
        """Now, for who asks the directory now."""
        return Moment(self.clock(), self._number)

    def outdated(self, asked: Moment, names: Sequence[bytes]) -> bool:
        """Whether an answer hangs on an entry that has changed since it was asked for."""
        if asked.number < self._forgotten or asked.at < self._since:
            return True
        changes = self._changes
        return bool(changes) and any(changes.get(name, 0) > asked.number for name in names)

    def longest(self, names: Sequence[bytes]) -> float:
        """Seconds for which an answer that hangs on entries of these names may be trusted; none: a watch is blind."""
        return self._grace if self._by_name and not names and self._grace is not None else math.inf

    def trusts(self, asked: float) -> bool:
        """Whether an answer asked for then is trusted now."""
        if self._gap is None or self._grace is None:
            return asked >= self._since
        return asked >= self._since and self.clock() - asked < self._grace

    def lapsed(self, asked: float) -> float:
        """When an answer asked for then ceased, or will cease, to be trusted; infinite where nothing says so."""
        if asked < self._since:
            return self._since
        if self._gap is None or self._grace is None:
            return math.inf
        return max(asked + self._grace, self._gap)

    @property
    def covered(self) -> bool:
        """Whether changes are told now."""
        return self._grace is not None and self._by_name and self._gap is None
