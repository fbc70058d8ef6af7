"""What is told of changes in the directories of one configuration, for the logins in its cache."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Self

from pysaslauthd.cache import Cache, Watched
from pysaslauthd.config import LdapSettings, Loaded
from pysaslauthd.daemon.directories import Directories
from pysaslauthd.directory.servers import Servers
from pysaslauthd.directory.watch_state import RealmWatch
from pysaslauthd.freshness import Coverage

if TYPE_CHECKING:
    from pysaslauthd.directory.ldif import LdifDirectory
    from pysaslauthd.directory.ldif_watch import LdifWatch
    from pysaslauthd.directory.watch import Watch

logger = logging.getLogger(__name__)


class Watches:
    """A watch for each realm that wants one (``ldap_watch``)."""

    def __init__(self, watches: dict[str, Watch | LdifWatch]) -> None:
        self._watches = watches

    @classmethod
    def make(cls, loaded: Loaded, directories: Directories, cache: Cache | None) -> Self:
        """Those of a configuration, not started; ``cache`` trusts each directory as far as they say.

        :raises ConfigError: TLS files cannot be used.
        """
        revalidate = float(loaded.daemon.cache_revalidate) or math.inf
        watches: dict[str, Watch | LdifWatch] = {}
        if cache is None:
            if revalidate < math.inf:
                logger.warning("cache_revalidate has no effect: there is no cache without -c")
            if any(settings.watch for _, settings in loaded.parts()):
                logger.warning("ldap_watch has no effect: there is no cache without -c")
            return cls(watches)
        for realm, settings in loaded.parts():
            grace = settings.watch_grace if settings.watch else None
            watched = cache.cover(realm, Coverage(grace=grace, revalidate=revalidate))
            if settings.watch:
                watches[realm] = _watch(settings, directories.of(settings), watched)
        return cls(watches)

    def states(self) -> list[RealmWatch]:
        """How each watch is."""
        return [RealmWatch(realm, watch.covered, watch.states()) for realm, watch in self._watches.items()]

    def start(self) -> None:
        """Begin."""
        for watch in self._watches.values():
            watch.start()

    async def stop(self) -> None:
        """End; the cache is told nothing any more."""
        await asyncio.gather(*(watch.stop() for watch in self._watches.values()))


def _watch(settings: LdapSettings, directory: Servers | LdifDirectory, watched: Watched) -> Watch | LdifWatch:
    # Few sites want a watch, and all wait for what is imported.
    if isinstance(directory, Servers):
        from pysaslauthd.directory.watch import Watch  # noqa: PLC0415 - see above

        return Watch(settings, directory.states, watched)
    from pysaslauthd.directory.ldif_watch import LdifWatch  # noqa: PLC0415 - see above

    return LdifWatch(directory, watched)
