"""Floods: the first lines of one message are written, the rest of them is counted and told in one line.

fail2ban and people see every attempt up to a rate that no person reaches; a client that tries a thousand times a
second cannot fill the disk with it.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from pysaslauthd.log.event import LoginEvent
from pysaslauthd.log.text import MAX_FIELD
from pysaslauthd.model import Verdict

WINDOW = 10.0
"""Seconds for which lines alike are counted together, from the first one on."""
MAX_REJECTED = 10
"""Lines in a window for one reason, person and client address: twice what fail2ban needs to ban (its maxretry is 5)."""
MAX_UNAVAILABLE = 100
"""Lines in a window for one reason, whoever is meant: an outage meets everybody, and none of them did anything."""
MAX_MESSAGES = 20
"""Lines in a window of any other message, whatever its values."""
MAX_WINDOWS = 1024
"""Messages that are counted at once, about 1 kB each; beyond, the oldest ends early."""


class _Kind(NamedTuple):
    key: Hashable
    most: int


class _Window:
    __slots__ = ("last", "lines", "repeated", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.lines = 0
        self.repeated = 0
        self.last: logging.LogRecord | None = None


class Flood:
    """Decides which records are written.

    :param clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # In the order of their ends, since all last as long. A plain dict would not find its first one at once.
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self._ended: list[logging.LogRecord] = []

    @property
    def counting(self) -> bool:
        """Whether there is anything to be told of later."""
        return any(window.repeated for window in self._windows.values())

    def takes(self, record: logging.LogRecord) -> bool:
        """Whether to write this record; if not, it is counted."""
        kind = _kind(record)
        if kind is None:
            return True
        window = self._windows.get(kind.key)
        if window is None:
            if len(self._windows) >= MAX_WINDOWS:
                self._end(next(iter(self._windows)))
            window = self._windows[kind.key] = _Window(self._clock() + WINDOW)
        if window.lines < kind.most:
            window.lines += 1
            return True
        window.repeated += 1
        window.last = record
        return False

    def ended(self, *, early: bool = False) -> list[logging.LogRecord]:
        """What sums up the floods whose window has ended since the last call; all of them if ``early``."""
        if self._windows:
            now = self._clock()
            for key in [*self._windows] if early else self._due(now):
                self._end(key)
        ended, self._ended = self._ended, []
        return ended

    def _due(self, now: float) -> list[Hashable]:
        due = []
        for key, window in self._windows.items():
            if window.until > now:
                break
            due.append(key)
        return due

    def _end(self, key: Hashable) -> None:
        window = self._windows.pop(key)
        if window.last is not None:
            self._ended.append(_summary(window.last, window.repeated))


def _kind(record: logging.LogRecord) -> _Kind | None:
    """Which message a record is of; None is never summed up."""
    event = record.msg
    if isinstance(event, LoginEvent):
        match event.verdict:
            case Verdict.ACCEPTED:
                return None  # whoever has them logged wants each
            case Verdict.REJECTED:
                return _Kind((event.reason.value, event.identity[:MAX_FIELD], event.host[:MAX_FIELD]), MAX_REJECTED)
            case Verdict.UNAVAILABLE:  # pragma: no branch - there are three
                return _Kind(event.reason.value, MAX_UNAVAILABLE)
    text = record.getMessage() if event == "%s" else event
    return _Kind((record.levelno, str(text)[:MAX_FIELD]), MAX_MESSAGES)


def _summary(last: logging.LogRecord, repeated: int) -> logging.LogRecord:
    summary = copy.copy(last)
    if isinstance(last.msg, LoginEvent):
        summary.msg = last.msg._replace(repeated=repeated)
    else:
        summary.msg, summary.args = f"{last.getMessage()} (repeated {repeated:,} times in {WINDOW:g} s)", ()
    return summary
