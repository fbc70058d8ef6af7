"""A fake LDAP server for unit tests: BER over a real socket, a small table of entries, and faults on order.

What it takes and sends is in ``rig.ldap_messages``, what it knows in ``rig.ldap_table``, what it can be told to do
wrong in ``rig.faults``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from rig import faults
from rig import ldap_messages as messages
from rig.authority import Authority
from rig.faults import Exchange, Fault, Request
from rig.ldap_table import PEOPLE, Entries, Table
from rig.loop import stop_listening
from rig.programs import free_port

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that what is bound to happen may take on a busy machine."""


class Connection:
    """One accepted connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.bound = ""
        self.task = asyncio.current_task()
        self.work: set[asyncio.Task[None]] = set()


class Listener(socket.socket):
    """A listening socket that counts what it accepts."""

    accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        connection = super().accept()
        self.accepted += 1
        return connection


class FakeLdap:
    """The server, as a context manager, in a thread with an event loop of its own.

    :param entries: DN to attributes to values; a simple bind takes any value of userPassword as clear text.
    :param authority: with one it grants StartTLS; without, it refuses.
    :param ldaps: TLS from the first octet.
    :param path: listen on this UNIX socket instead of a loopback port.
    """

    def __init__(
        self,
        entries: Entries = PEOPLE,
        *,
        authority: Authority | None = None,
        ldaps: bool = False,
        path: Path | None = None,
    ) -> None:
        self.table = Table(entries, start_tls=authority is not None)
        self.requests: list[Request] = []
        self.port = free_port()
        self._listeners: list[Listener] = []
        self._numbers = itertools.count()
        self._released = asyncio.Event()
        self._socket = path
        self._ldaps = ldaps
        self._tls: ssl.SSLContext | None = None
        if authority is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*authority.issue("fake"))
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._connections: dict[int, Connection] = {}
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake LDAP")
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._call(self._abort())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def uri(self) -> str:
        """ldap, ldaps or ldapi URI."""
        if self._socket is not None:
            return f"ldapi://{quote(str(self._socket), safe='')}"
        return f"{'ldaps' if self._ldaps else 'ldap'}://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> int:
        """How many connections there have been, with those that wait to be accepted: for the client they stand."""
        self._call(self._accept_waiting())
        return sum(listener.accepted for listener in self._listeners)

    def connect(self) -> socket.socket:
        """A plain connection to it, with a time-out."""
        if self._socket is None:
            return socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self._socket))
        return client

    def fault(self, operation: str, *faults: Fault) -> None:
        """Queue faults for the next requests of an operation, one each; ``connect`` is one, too."""
        self._faults[operation].extend(faults)

    def release(self) -> None:
        """Let what ``hold`` holds be answered, now and from now on."""
        self._loop.call_soon_threadsafe(self._released.set)

    def wait_for(self, operation: str, count: int = 1, seconds: float = PATIENCE) -> list[Request]:
        """Wait until so many requests of an operation have come; those requests."""
        self._wait(lambda: len(self._of(operation)) >= count, f"{count} {operation} requests", seconds)
        return self._of(operation)

    def wait_connected(self, count: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until so many connections are open."""
        self._wait(lambda: len(self._connections) >= count, f"{count} connections", seconds)

    def wait_closed(self, seconds: float = PATIENCE) -> None:
        """Wait until no connection is open."""
        self._wait(lambda: not self._connections, "the end of all connections", seconds)

    def send(self, data: bytes) -> None:
        """Send octets that nobody asked for on every open connection."""
        self._call(self._send(data))

    def drop(self) -> None:
        """Close every open connection; new ones are accepted."""
        self._call(self._drop())

    def stop(self) -> None:
        """Close the listener and every connection: from now on connections are refused."""
        self._call(self._stop())

    def listen(self) -> None:
        """Listen again after :meth:`stop`, at the same address."""
        self._call(self._listen())

    def _of(self, operation: str) -> list[Request]:
        return [request for request in self.requests if request.operation == operation]

    def _wait(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        with self._changed:
            assert self._changed.wait_for(true, seconds), f"waited {seconds} s for {what}, saw {self.requests}"

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            listener = Listener(socket.AF_UNIX)
            listener.bind(str(self._socket))
            self._server = await asyncio.start_unix_server(self._serve, sock=listener)
        else:
            listener = Listener(socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            tls = self._tls if self._ldaps else None
            self._server = await asyncio.start_server(self._serve, sock=listener, ssl=tls)
        self._listeners.append(listener)

    async def _accept_waiting(self) -> None:
        for _ in range(2):  # in the first turn the loop sees that they wait, in the second it has accepted them all
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        await stop_listening(self._server)
        await self._drop()

    async def _abort(self) -> None:
        """End the connections that asyncio alone knows of: those in a handshake, and those that are being closed."""
        transports = self._loop._transports  # type: ignore[attr-defined]  # of every selector loop, not in its type
        for transport in [*transports.values()]:
            transport.abort()
        await asyncio.sleep(0)  # they are closed in the next turn

    async def _send(self, data: bytes) -> None:
        for connection in self._connections.values():
            connection.writer.write(data)
            await connection.writer.drain()

    async def _drop(self) -> None:
        ended = [connection.task for connection in self._connections.values() if connection.task is not None]
        for connection in self._connections.values():
            connection.writer.transport.abort()
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(next(self._numbers), reader, writer)
        with self._changed:
            self._connections[connection.number] = connection
            self._changed.notify_all()
        # Dropped: the task was cancelled by _drop and ends here.
        ends = (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError)
        try:
            with contextlib.suppress(*ends):
                await self._next_fault("connect")(Exchange(writer, None, b"", self._released))
                while await self._one(connection):
                    pass
        finally:
            for task in connection.work:
                task.cancel()
            writer.close()
            with self._changed:
                del self._connections[connection.number]
                self._changed.notify_all()

    def _next_fault(self, operation: str) -> Fault:
        queue = self._faults[operation]
        return queue.popleft() if queue else faults.honest

    async def _one(self, connection: Connection) -> bool:
        """Take one request; whether there may be another."""
        message_id, operation, body, controls = messages.decode(await messages.read(connection.reader))
        request = Request(operation, message_id, connection.number, connection.bound, body, controls)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if operation in ("unbind", "abandon"):
            return operation != "unbind"
        fault = self._next_fault(operation)
        exchange = Exchange(connection.writer, request, self.table.answer(request), self._released)
        if operation == "bind" and fault is faults.honest:
            connection.bound = self.table.who(body) or ""
        if operation == "extended" and body["requestName"] == messages.START_TLS:
            # Nothing may be read between the answer and the handshake.
            await fault(exchange)
            if fault is faults.honest and self._tls is not None:
                await connection.writer.start_tls(self._tls)
        else:
            task = asyncio.create_task(self._apply(fault, exchange))
            connection.work.add(task)
            task.add_done_callback(connection.work.discard)
        return True

    async def _apply(self, fault: Fault, exchange: Exchange) -> None:
        with contextlib.suppress(ConnectionError):
            await fault(exchange)
