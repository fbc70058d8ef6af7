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
    """When something was asked: seconds, monotonic, and how many changes had been told by then."""

    at: float
    number: int


class Changes:
    """Which entries have changed of late, for answers that were asked for before and come afterwards."""

    def __init__(self) -> None:
        self.number = 0
        """How many changes have been told."""
        self._changed: dict[bytes, int] = {}
        self._forgotten = 0

    def note(self, names: Iterable[bytes]) -> None:
        """Entries have changed."""
        self.number += 1
        for name in names:
            self._changed.pop(name, None)
            self._changed[name] = self.number
        while len(self._changed) > MAX_CHANGES:
            self._forgotten = self._changed.pop(next(iter(self._changed)))

    def note_any(self) -> None:
        """Any entry may have changed."""
        self.number += 1
        self._changed.clear()
        self._forgotten = self.number

    def since(self, asked: Moment, names: Sequence[bytes]) -> bool:
        """Whether one of these entries may have changed since."""
        if asked.number < self._forgotten:
            return True
        changed = self._changed
        return bool(changed) and any(changed.get(name, 0) > asked.number for name in names)


class Coverage:
    """How far one directory's answers are trusted. Without ``grace`` there is no watch, and all are.

    :param grace: seconds for which an answer is trusted while no watch covers it.
    :param revalidate: seconds after which an answer is to be checked, where there is no watch.
    :param clock: seconds, monotonic.

    ``check_after`` is ``revalidate`` where it is in force, infinite where not.
    """

    def __init__(
        self, *, grace: float | None = None, revalidate: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.revalidates = revalidate < math.inf
        self.check_after = revalidate if grace is None else math.inf
        self._grace = grace or math.inf
        self._revalidate = revalidate
        self._clock = clock
        self._told = grace is not None
        self._since = -math.inf
        self._gap = clock() if grace is not None else math.inf

    def watched(self) -> None:
        """From now on every change is told; before, one may have been missed."""
        self.distrust()
        self._gap = math.inf
        self._told, self.check_after = True, math.inf

    def lost(self) -> None:
        """From now on changes may be missed."""
        self._gap = min(self._gap, self._clock())
        self._told, self.check_after = True, math.inf

    def unwatchable(self) -> bool:
        """No change will ever be told. Whether checks take the watch's place, or the grace stays in force."""
        if self.revalidates:
            self._gap = math.inf
            self._told, self.check_after = False, self._revalidate
        return self.revalidates

    def distrust(self) -> None:
        """Nothing that was asked before now is trusted."""
        self._since = self._clock()

    def longest(self, names: Sequence[bytes]) -> float:
        """Seconds for which an answer may be trusted that hangs on these entries; on none: not all of them are told."""
        return self._grace if self._told and not names else math.inf

    def trusts(self, asked: float) -> bool:
        """Whether what was asked then is trusted now."""
        return asked >= self._since and (self._gap == math.inf or self._clock() - asked < self._grace)

    def lapsed(self, asked: float) -> float:
        """When what was asked then ceased to be trusted, or will; infinite where nothing says so."""
        if asked < self._since:
            return self._since
        return math.inf if self._gap == math.inf else max(asked + self._grace, self._gap)
