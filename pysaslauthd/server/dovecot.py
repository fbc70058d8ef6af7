"""The Dovecot auth socket's shell: bytes between a client's connection and its session.

A mail server keeps its connection for as long as its process lives (Postfix: over many SMTP sessions, and a
connection lost between two of them costs a person a login), so there is no time limit on silence.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import socket
from collections import Counter
from functools import partial

from pysaslauthd.metrics import Fault
from pysaslauthd.model import Outcome, Peer
from pysaslauthd.server.deadlines import Deadlines
from pysaslauthd.server.listener import MAX_CONNECTIONS, Listener, one_by_one, peer_of
from pysaslauthd.server.mux import Authenticator
from pysaslauthd.wire.dovecot_session import Ask, Close, Send, Session, Unavailable

MAX_UNREAD = 131072
"""Bytes of replies that may wait for a client to read, beyond the kernel's own buffer: more than a session's
bound of logins brings at once. A client that lets them pile up further does not read, and is disconnected."""

FLUSH_SECONDS = 2.0
"""Longest time for a client to read its last replies before its connection is cut."""

READ_SIZE = 16 * 1024
"""Octets read at once. asyncio's own buffer, 256 KiB made anew for every read, costs half as much as a cached login."""

_MAX_CUID = 2**31 - 1

logger = logging.getLogger(__name__)


class DovecotServer:
    """Serves Dovecot's auth-client protocol on one listening socket.

    :param unavailable: how a client is told that nobody knows whether its password is right.
    :param default_realm: the domain of a login without one; it goes into the name that a client is told.
    :param max_connections: bound on open connections.

    ``faults`` counts the requests that were no login.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        listener: Listener,
        *,
        unavailable: Unavailable = "auto",
        default_realm: bytes = b"",
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.faults: Counter[Fault] = Counter()
        self._authenticator = authenticator
        self._listener = listener
        self._unavailable = unavailable
        self._default_realm = default_realm
        self._max_connections = max_connections
        self._buffer = memoryview(bytearray(READ_SIZE))  # of all: what is read is taken out before the next read
        self._connections: set[_Connection] = set()
        self._starting: set[asyncio.Task[object]] = set()
        self._flushing: Deadlines[_Connection] = Deadlines(FLUSH_SECONDS, _Connection.abort)
        self._numbers = itertools.count()
        self._answered: list[_Connection] = []

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def use(self, default_realm: bytes) -> None:
        """Take another default realm, for the requests to come on every connection."""
        self._default_realm = default_realm
        for connection in self._connections:
            connection.use(default_realm)

    def start(self) -> None:
        """Serve on the running event loop."""
        self._listener.start(one_by_one(self._serve), self._connections, max_connections=self._max_connections)

    async def stop(self, seconds: float) -> None:
        """Accept no more, answer what has been asked, close.

        :param seconds: how long to wait for the answers; then their connections are closed without one.
        """
        self._listener.stop()
        for connection in list(self._connections):
            connection.drain()
        await self._ends(seconds)
        for connection in list(self._connections):
            connection.abort()
        await self._ends(None)
        self._flushing.stop()

    async def _ends(self, seconds: float | None) -> None:
        if self._connections:
            await asyncio.wait([connection.ended for connection in self._connections], timeout=seconds)

    def _serve(self, client: socket.socket) -> None:
        peer = peer_of(client)
        session = Session(
            pid=os.getpid(),
            cuid=1 + next(self._numbers) % _MAX_CUID,
            cookie=secrets.token_hex(16),
            peer=peer,
            unavailable=self._unavailable,
            default_realm=self._default_realm,
        )
        name = f"{self._listener.path}: {_name(peer)}"
        connection = _Connection(self, session, name)
        self._connections.add(connection)
        connection.ended.add_done_callback(lambda _: self._connections.discard(connection))
        loop = asyncio.get_running_loop()
        starting = loop.create_task(loop.connect_accepted_socket(lambda: connection, client))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    def _answer_later(self, connection: _Connection) -> None:
        """Send the connection's answers at the end of this turn of the event loop, with those of the others.

        Each wakes a client, which may take the processor: what is left to do here is done first.
        """
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._answered.append(connection)

    def _send_answers(self) -> None:
        answered, self._answered = self._answered, []
        for connection in answered:
            connection.send_answers()


def _name(peer: Peer) -> str:
    return f"process {peer.pid} (uid {peer.uid})"


class _Connection(asyncio.BufferedProtocol):
    """One connection. ``ended`` is done when it is no more; ``name`` says in the log whose it is."""

    def __init__(self, server: DovecotServer, session: Session, name: str) -> None:
        self._server = server
        self._session = session
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answers: list[bytes] = []
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: it is a stream's
        self._transport = transport
        if not self._session.closed:
            self._write(self._session.greeting)
        self._close_if_due()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server._buffer

    def buffer_updated(self, nbytes: int) -> None:
        server = self._server
        data = bytes(server._buffer[:nbytes])
        for event in self._session.receive(data, self._loop.time()):
            match event:
                case Ask():
                    server._authenticator.authenticate(event.request, partial(self._answer, event))
                case Send():
                    if event.refused:
                        server.faults["malformed"] += 1
                        logger.info("%s: a request is refused: %s", self._name, event.refused)
                    self._write(event.data)
                case Close():  # pragma: no branch - there are three
                    server.faults["malformed"] += 1
                    logger.warning("%s: closing the connection: %s", self._name, event.reason)
        self._close_if_due()

    def eof_received(self) -> bool:
        # A client that has said its last word may still listen.
        self.drain()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self._server._flushing.discard(self)
        self.ended.set_result(None)

    def use(self, default_realm: bytes) -> None:
        """Take another default realm."""
        self._session.default_realm = default_realm

    def drain(self) -> None:
        """Answer what is being decided, then close."""
        self._session.drain()
        self._close_if_due()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:  # pragma: no branch - there is one within a turn, and a stop waits longer
            self._transport.abort()

    def _answer(self, ask: Ask, outcome: Outcome) -> None:
        first = not self._answers
        self._answers.append(self._session.answer(ask, outcome))
        if self._server.open_connections == 1:
            self.send_answers()
        elif first:
            self._server._answer_later(self)

    def send_answers(self) -> None:
        """Send what has been decided."""
        answers, self._answers = self._answers, []
        self._write(b"".join(answers))
        self._close_if_due()

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)
            if transport.get_write_buffer_size() > MAX_UNREAD:
                logger.warning("%s: closing the connection: its replies are not read", self._name)
                transport.abort()

    def _close_if_due(self) -> None:
        transport = self._transport
        if self._session.closed and not self._answers and transport is not None and not transport.is_closing():
            transport.close()
            if transport.get_write_buffer_size():
                self._server._flushing.add(self)
