"""A watch over an LDIF file: when it is read again, nothing of before is trusted. To ask it anew costs little."""

from __future__ import annotations

import time

from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.watch import WatchedCache
from pysaslauthd.directory.watch_state import WatchState


class LdifWatch:
    """The watch.

    :param cache: told of changes, on the event loop.
    """

    covered = True
    """Whether every change is told now: a file that cannot be read leaves in force what was read before."""

    def __init__(self, directory: LdifDirectory, cache: WatchedCache) -> None:
        self._directory = directory
        self._cache = cache
        self._since = time.monotonic()
        self._changes = 0
        directory.on_change(self._changed)

    def states(self) -> list[WatchState]:
        """How it is."""
        seconds = time.monotonic() - self._since
        return [
            WatchState(state.server, watching=True, how="file", seconds=seconds, changes=self._changes)
            for state in self._directory.states()
        ]

    def start(self) -> None:
        """Begin."""
        self._cache.watched()

    async def stop(self) -> None:
        """Nothing is to be closed: the directory ends by itself."""

    def _changed(self) -> None:
        self._changes += 1
        self._cache.changed_any()
