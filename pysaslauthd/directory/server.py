"""One server of ``ldap_servers``: its health, a few connections for searches, a pool for user binds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.answer import Answer
from pysaslauthd.directory.connect import Connector, wait
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.directory.deliver import deliver, deliver_failure
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryError, DirectoryTimeout
from pysaslauthd.flow import Reply, run

logger = logging.getLogger(__name__)

SEARCH_CONNECTIONS = 4
"""Connections for searches at most. 389 DS serves five requests of one connection at a time."""
BUSY = 8
"""Requests in flight on the least busy connection from which another connection is worth making: the more there are,
the fewer requests share a write, and answers a read. With 5, 16 logins in flight cost a tenth more CPU time."""
IDLE_BINDERS = 16
"""Idle connections kept for user binds at most, where ``-n 0`` sets no bound."""
FIRST_RETRY = 1.0
"""Seconds after which a failed server is tried again; doubled each time, up to LAST_RETRY."""
LAST_RETRY = 30.0
SHORTEST_LIFE = 1.0
"""Seconds since the last connection was made, from which a lost one is replaced before anybody needs it."""


class Server:
    """A server and the connections to it. All methods are called on the event loop.

    ``up`` is None until the first attempt, then whether the last one succeeded. ``late`` is whether it has let a
    request wait for too long since it was last looked after, although it is not hung: another server will do better.
    """

    def __init__(self, uri: ServerUri, connector: Connector, binders: int) -> None:
        self.uri = uri
        self.up: bool | None = None
        self.late = False
        self._connector = connector
        self._pulse = Pulse()
        self._binders_kept = binders or IDLE_BINDERS
        self._open: set[LdapConnection] = set()
        self._searchers: list[LdapConnection] = []
        self._binders: list[LdapConnection] = []
        self._waiting: list[Reply[LdapConnection]] = []
        self._connecting: asyncio.Task[LdapConnection] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[LdapConnection]] = set()
        self._stopping = False
        self._wanted = True
        self._made = float("-inf")
        self._error = ""
        self._failures = 0
        self._since = asyncio.get_running_loop().time()

    # -- searches

    def searcher(self) -> LdapConnection | None:
        """The least busy open connection for searches, if there is one; begins another when all are busy."""
        searchers = self._searchers
        if not searchers:
            return None
        best = searchers[0]
        least = len(best.operations)  # not pending, which is a call
        if least:
            for other in searchers:
                if (pending := len(other.operations)) < least:
                    best, least = other, pending
            if least >= BUSY and len(searchers) < SEARCH_CONNECTIONS:
                self.connect()
        return best

    async def connected(self) -> LdapConnection:
        """A connection for searches, once there is one.

        :raises DirectoryError: the attempt failed; who asks next begins a new one.
        """
        if self._stopping:
            raise DirectoryDown(f"{self.uri.text}: stopping")
        self._wanted = True
        reply: Reply[LdapConnection] = Reply()
        self._waiting.append(reply)
        self.connect()
        return await reply

    def connect(self) -> None:
        """Begin to make a connection for searches, unless one is being made. All who wait share it."""
        if self._connecting is None and not self._stopping:
            self._connecting = asyncio.get_running_loop().create_task(self._make(as_service=True))
            self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[LdapConnection]) -> None:
        self._connecting = None
        made = self._outcome(task)
        waiting, self._waiting = self._waiting, []
        if isinstance(made, LdapConnection):
            self._searchers.append(made)
        else:
            self.failed(made)
        for reply in waiting:
            _hand_over(made, reply)

    async def _make(self, *, as_service: bool) -> LdapConnection:
        connection = await self._connector.connect(self.uri, self._forget, self._pulse, as_service=as_service)
        self._open.add(connection)
        self._made = asyncio.get_running_loop().time()
        if self.up is False:
            logger.warning("directory server is back: %s", self.uri.text)
        if not self.up:
            self.up = True
            self._since = self._made
        return connection

    def _outcome(self, task: asyncio.Task[LdapConnection]) -> LdapConnection | DirectoryError:
        """What came of an attempt to connect: a usable connection or the reason why there is none."""
        if not task.cancelled():
            error = task.exception()
            if error is None and not task.result().lost:
                return task.result()
            if isinstance(error, DirectoryError):
                return error
            if error is not None:  # pragma: no branch - lost between the task's end and this
                logger.error("internal error: %s while connecting to %s", type(error).__name__, self.uri.text)
        return DirectoryDown(f"{self.uri.text}: not connected")

    # -- user binds

    def idle_binder(self) -> LdapConnection | None:
        """An open connection for one user bind, if one is idle; give it back with :meth:`release`, or close it."""
        return self._binders.pop() if self._binders else None

    async def binder(self) -> LdapConnection:
        """The same, a new one where none is idle.

        :raises DirectoryError: none could be made.
        """
        if self._binders:
            return self._binders.pop()
        if self._stopping:
            raise DirectoryDown(f"{self.uri.text}: stopping")
        reply: Reply[LdapConnection] = Reply()
        task = asyncio.get_running_loop().create_task(self._make(as_service=False))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda ended: _hand_over(self._outcome(ended), reply))
        return await reply

    def release(self, connection: LdapConnection) -> None:
        """Take back a connection whose bind was answered. Whoever it is bound as: the next use is a bind again."""
        if connection.lost:
            return
        if len(self._binders) < self._binders_kept and not self._stopping:
            self._binders.append(connection)
        else:
            connection.close()

    # -- health

    def failed(self, error: DirectoryError) -> None:
        """Note a failure: say so once, and look for the server in the background from now on.

        A server that said nothing within a time-out is hung: every connection to it is given up. Any other
        failure counts only when no connection for searches is left; otherwise the idle connections are probed.
        """
        hung = isinstance(error, DirectoryTimeout) and error.silent
        if not self._stopping:
            self._error = str(error)
        if self._stopping:
            return
        if self._searchers and not hung:
            if isinstance(error, DirectoryTimeout | ConnectionLost):
                self.late = self.late or isinstance(error, DirectoryTimeout)
                self._distrust()
            return
        if self.up is not False:
            self.up = False
            self._failures += 1
            self._since = asyncio.get_running_loop().time()
            logger.warning("directory server failed: %s", error)
        if self._reviving is None:
            self._reviving = asyncio.get_running_loop().create_task(self._revive())
        if hung:  # now that it counts as down, what was in flight is asked of the next server
            for connection in [*self._open]:
                connection.close()

    def state(self) -> ServerState:
        """How the server is now."""
        seconds = asyncio.get_running_loop().time() - self._since
        in_flight = sum(connection.pending for connection in self._open)
        open_now, failures = len(self._open), self._failures
        return ServerState(self.uri.text, self.up, seconds, self._error, open_now, in_flight, failures)

    async def _revive(self) -> None:
        delay = FIRST_RETRY
        try:
            while self.up is False:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)
                if self.up is False:
                    self.connect()
                    if self._connecting is not None:  # pragma: no branch - only a stop keeps it None, and ends this
                        await asyncio.wait([self._connecting])
        finally:
            self._reviving = None

    def _forget(self, connection: LdapConnection) -> None:
        self._open.discard(connection)
        if connection in self._binders:
            self._binders.remove(connection)
        if connection in self._searchers:
            self._searchers.remove(connection)
            if not self._searchers and self.up and self._wanted and self._lived():
                self.connect()  # so that a login finds it, or finds the server down already

    def _lived(self) -> bool:
        return asyncio.get_running_loop().time() - self._made > SHORTEST_LIFE

    # -- idle connections

    def tend(self, *, wanted: bool) -> None:
        """Look after idle connections: probe them, or close them where a better server is in use.

        A connection that broke without a sign (a firewall forgot it, the machine at the other end went away) is found
        by this and not by a login, and so is a server that hangs. Of those for user binds the one that has been idle
        for longest is probed, and is then the next to be used.
        """
        self._wanted = wanted
        self.late = False
        if not wanted:
            for connection in [*self._searchers, *self._binders]:
                if not connection.pending:
                    connection.close()
            return
        if not self._searchers and self.up is not False:
            self.connect()
        self._probe_searchers()
        if self._binders:
            self._probe_binder(self._binders.pop(0))

    def _distrust(self) -> None:
        """Use no idle connection again before it was probed: what one was lost by, the others may have been, too."""
        self._probe_searchers()
        idle, self._binders = self._binders, []
        for binder in idle:
            self._probe_binder(binder)

    def _probe_searchers(self) -> None:
        for searcher in [*self._searchers]:
            if not searcher.pending:
                self._probe(searcher)

    def _probe_binder(self, binder: LdapConnection) -> None:
        self._probe(binder, lambda: self.release(binder))

    def _probe(self, connection: LdapConnection, then: Callable[[], None] = lambda: None) -> None:
        """Read the root entry, which any server can (RFC 4512 section 5.1); whatever it answers, it answers."""

        def answered(_: Answer | None, error: BaseException | None) -> None:
            if isinstance(error, DirectoryError):
                self.failed(error)
            else:
                then()

        run(wait(connection.ask(self._connector.probe, [])), answered)

    # -- the end

    def retire(self) -> None:
        """Make no more connections. What is in flight goes on; what comes fails."""
        self._stopping = True
        for task in self._attempts():
            task.cancel()

    async def stop(self) -> None:
        """Close all connections and end all attempts. What is in flight, and what comes, fails."""
        self.retire()
        tasks = self._attempts()
        if tasks:
            await asyncio.wait(tasks)
        for connection in [*self._open]:
            connection.close()

    def _attempts(self) -> list[asyncio.Task[Any]]:
        return [task for task in (self._connecting, self._reviving, *self._tasks) if task is not None]


def _hand_over(made: LdapConnection | DirectoryError, reply: Reply[LdapConnection]) -> None:
    if isinstance(made, LdapConnection):
        deliver(reply, made)
    else:
        deliver_failure(reply, made)
