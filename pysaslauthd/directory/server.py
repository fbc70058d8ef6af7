"""One server of ``ldap_servers``: its health, a few connections for searches, a pool for user binds."""

from __future__ import annotations

import asyncio
import logging

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import LdapConnection
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryTimeout
from pysaslauthd.flow import Reply

logger = logging.getLogger(__name__)

SEARCH_CONNECTIONS = 4
"""Connections for searches at most. 389 DS serves five requests of one connection at a time."""
BUSY = 5
"""Requests in flight on the least busy connection from which another connection is worth making."""
IDLE_BINDERS = 16
"""Idle connections kept for user binds at most, where ``-n 0`` sets no bound."""
FIRST_RETRY = 1.0
"""Seconds after which a failed server is tried again; doubled each time, up to LAST_RETRY."""
LAST_RETRY = 30.0


class Server:
    """A server and the connections to it. All methods are called on the event loop.

    ``up`` is None until the first attempt, then whether the last one succeeded.
    """

    def __init__(self, uri: ServerUri, connector: Connector, binders: int) -> None:
        self.uri = uri
        self.up: bool | None = None
        self._connector = connector
        self._binders_kept = binders or IDLE_BINDERS
        self._searchers: list[LdapConnection] = []
        self._binders: list[LdapConnection] = []
        self._waiting: list[Reply[LdapConnection]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- searches

    def searcher(self) -> LdapConnection | None:
        """The least busy open connection for searches, if there is one; begins another when all are busy."""
        searchers = self._searchers
        if not searchers:
            return None
        best = searchers[0]
        if best.pending:
            for other in searchers:
                if other.pending < best.pending:
                    best = other
            if best.pending >= BUSY and len(searchers) < SEARCH_CONNECTIONS:
                self.connect()
        return best

    async def connected(self) -> LdapConnection:
        """A connection for searches, once there is one.

        :raises DirectoryError: the attempt failed; who asks next begins a new one.
        """
        reply: Reply[LdapConnection] = Reply()
        self._waiting.append(reply)
        self.connect()
        return await reply

    def connect(self) -> None:
        """Begin to make a connection for searches, unless one is being made. All who wait share it."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        error: DirectoryError | None = None
        connection: LdapConnection | None = None
        try:
            connection = await self._connector.connect(self.uri, self._forget, as_service=True)
            self._searchers.append(connection)
            self.succeeded()
        except DirectoryError as failure:
            error = failure
            self.failed(failure)
        finally:
            self._connecting = None
            waiting, self._waiting = self._waiting, []
            for reply in waiting:
                if connection is not None:
                    reply.set(connection)
                else:
                    reply.fail(error or DirectoryDown(f"{self.uri.text}: not connected"))

    # -- user binds

    async def binder(self) -> LdapConnection:
        """A connection for one user bind; give it back with :meth:`release`.

        :raises DirectoryError: none could be made.
        """
        while self._binders:
            connection = self._binders.pop()
            if not connection.lost:
                return connection
        reply: Reply[LdapConnection] = Reply()
        task = asyncio.get_running_loop().create_task(self._connect_binder(reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await reply

    async def _connect_binder(self, reply: Reply[LdapConnection]) -> None:
        try:
            connection = await self._connector.connect(self.uri, self._forget, as_service=False)
        except DirectoryError as error:
            reply.fail(error)
        except asyncio.CancelledError:
            reply.fail(DirectoryDown(f"{self.uri.text}: not connected"))
            raise
        else:
            self.succeeded()
            reply.set(connection)

    def release(self, connection: LdapConnection) -> None:
        """Take back a connection after a bind. Whoever it is bound as: the next use is a bind again."""
        if not connection.lost:
            if len(self._binders) < self._binders_kept and not connection.pending:
                self._binders.append(connection)
            else:
                connection.close()

    # -- health

    def failed(self, error: DirectoryError) -> None:
        """Note a failure: say so once, and look for the server in the background from now on.

        A server that said nothing within a time-out is hung: every connection to it is given up. Any other
        failure counts only when no connection is left.
        """
        if isinstance(error, DirectoryTimeout) and error.silent:
            for connection in [*self._searchers, *self._binders]:
                connection.close()
        if self._searchers:
            return
        if self.up is not False:
            self.up = False
            logger.warning("directory server failed: %s", error)
        if self._reviving is None:
            self._reviving = asyncio.get_running_loop().create_task(self._revive())

    def succeeded(self) -> None:
        """Note that the server answers."""
        if self.up is False:
            logger.warning("directory server is back: %s", self.uri.text)
        self.up = True

    async def _revive(self) -> None:
        delay = FIRST_RETRY
        try:
            while self.up is False:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)
                if self.up is False:
                    self.connect()
                    if self._connecting is not None:
                        await asyncio.wait([self._connecting])
        finally:
            self._reviving = None

    def _forget(self, connection: LdapConnection) -> None:
        for connections in (self._searchers, self._binders):
            if connection in connections:
                connections.remove(connection)

    # -- the end

    async def stop(self) -> None:
        """Close all connections and end all attempts."""
        tasks = [task for task in (self._connecting, self._reviving, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [*self._searchers, *self._binders]:
            connection.close()
