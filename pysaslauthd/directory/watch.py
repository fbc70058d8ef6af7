"""A watch over all servers of ``ldap_servers``: tells a cache which entries change, and when that cannot be told.

Every server that may answer a login is watched on a connection of its own: what it has said is taken back when that
very server learns of a change, however late its replicas do. A server that is down misleads nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from pysaslauthd.config import LdapSettings
from pysaslauthd.config.uri import server_of
from pysaslauthd.directory.areas import areas_of
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.watch_connection import Change
from pysaslauthd.directory.watch_state import WatchState
from pysaslauthd.directory.watcher import Watcher

logger = logging.getLogger(__name__)

CHECKS_PER_GRACE = 4
"""How often within the grace a connection is probed, an attempt to connect repeated, and the servers' state read."""
LONGEST_PAUSE = 2.0
"""Seconds between two of these at most."""


class WatchedCache(Protocol):
    """What is told of changes. Entries are called by their names (:mod:`pysaslauthd.directory.names`)."""

    def changed(self, names: Sequence[bytes]) -> int:
        """These entries have changed; how many cached logins hung on them."""

    def changed_below(self, base: bytes) -> int:
        """So have all entries below this one."""

    def changed_any(self) -> None:
        """So may have any entry."""

    def watched(self) -> None:
        """From now on every change will be told; before, one may have been missed."""

    def lost(self) -> None:
        """From now on changes may be missed."""

    def unwatchable(self) -> bool:
        """No change will ever be told. Whether checks take the watch's place."""


class Watch:
    """The watch.

    :param servers: tells how the servers are that logins may be asked of.
    :param cache: told of changes, on the event loop.
    :raises ConfigError: the TLS files cannot be used.
    """

    def __init__(
        self, settings: LdapSettings, servers: Callable[[], Sequence[ServerState]], cache: WatchedCache
    ) -> None:
        grace = settings.watch_grace
        self.covered = False
        """Whether every change is told now."""
        self._servers = servers
        self._cache = cache
        self._grace = grace
        # So that a connection that says nothing is taken for lost before the grace is over.
        self._pause = min(grace / CHECKS_PER_GRACE, LONGEST_PAUSE)
        self._connector = Connector.of(settings, grace / 2)
        self._areas = areas_of(settings)
        self._watchers: dict[str, Watcher] = {}
        self._up: dict[str, bool | None] = {}
        self._complained = False
        self._never = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def states(self) -> list[WatchState]:
        """How the watch over each server is."""
        return [
            WatchState(
                server,
                watcher.watching,
                watcher.how,
                watcher.seconds,
                "" if watcher.watching else watcher.error,
                watcher.changes,
                watcher.losses,
            )
            for server, watcher in self._watchers.items()
        ]

    def start(self) -> None:
        """Begin."""
        if not self._areas:
            logger.warning(
                "ldap_watch: ldap_search_base or ldap_group_dn hangs on the login altogether; there is no part to watch"
            )
            self._cache.unwatchable()
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End. The cache is told nothing any more."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for watcher in self._watchers.values():
            await watcher.stop()

    async def _run(self) -> None:
        while True:
            await self._look_for_servers()
            self._settle()
            await asyncio.sleep(self._pause)

    async def _look_for_servers(self) -> None:
        """Watch the servers that there are now."""
        self._up = self._states()
        for server in self._watchers.keys() - self._up.keys():
            await self._watchers.pop(server).stop()
        for server in self._up.keys() - self._watchers.keys():
            watcher = Watcher(server_of(server), self._connector, self._areas, self._pause, self._take, self._turned)
            self._watchers[server] = watcher
            watcher.start()

    def _states(self) -> dict[str, bool | None]:
        """The servers known now, and whether each is up. A domain that DNS has not told of is none."""
        return {state.server: state.up for state in self._servers() if not server_of(state.server).domain}

    def _turned(self, server: str) -> None:
        """The watch over a server has begun, or is lost."""
        if self._stopping:
            return
        self._up = self._states()
        before = self.covered
        self._settle()
        # Others cover its changes from now on. But what it has said itself may have changed there unseen.
        if before and self.covered and self._up.get(server) is not None:
            self._cache.changed_any()

    def _settle(self) -> None:
        """See whether all servers are watched that answer logins, and tell the cache."""
        watchers = self._watchers
        unwatched = [server for server, watcher in watchers.items() if not watcher.watching]
        # One that has not been tried may be up before its state says so.
        covered = len(unwatched) < len(watchers) and not any(
            self._up.get(server) or not watchers[server].error for server in unwatched
        )
        if covered and not self.covered:
            self._cache.watched()
            logger.info("cached logins: every change of the directory is told")
            self._complained = self._never = False
        elif self.covered and not covered:
            self._cache.lost()
        self.covered = covered
        if not covered:
            self._complain([watchers[server] for server in unwatched])

    def _complain(self, unwatched: Sequence[Watcher]) -> None:
        """Say once why changes are not told, and what that means."""
        errors = "; ".join(dict.fromkeys(watcher.error for watcher in unwatched if watcher.error))
        if errors and not self._complained:
            self._complained = True
            logger.warning(
                "cached logins: changes of the directory are not told: %s; those older than %g s are asked again",
                errors,
                self._grace,
            )
        if not self._never and unwatched and all(watcher.cannot_tell for watcher in unwatched):
            self._never = True
            if self._cache.unwatchable():
                logger.warning("cached logins: as that is so, they are checked behind the scenes (cache_revalidate)")

    def _take(self, told: Change) -> None:
        if self._stopping:
            return
        known = self._cache.changed(told.names)
        if told.below:
            self._cache.changed_below(told.below)
        if told.unclear and not known:
            self._cache.changed_any()
