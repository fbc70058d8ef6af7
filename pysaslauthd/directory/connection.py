"""One connection to one LDAP server: many searches in flight, or one bind at a time.

A request leaves at once where none is in flight, and otherwise in one write with all of the same turn of the event
loop: a write costs as much as everything else about a search. An answer resumes the flow that
waits for it on the spot (:mod:`pysaslauthd.flow`). Every request has the same time-out, so that the oldest
is always the next to expire and one timer serves them all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import cast

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.answer import Answer, Operation
from pysaslauthd.directory.deliver import deliver, deliver_failure
from pysaslauthd.errors import ConnectionLost, DirectoryError, DirectoryTimeout, ProtocolError
from pysaslauthd.flow import Reply
from pysaslauthd.wire.ldap import codes, request, response
from pysaslauthd.wire.ldap.request import RequestTemplate
from pysaslauthd.wire.ldap.response import NO_CONTROLS, Response, Result
from pysaslauthd.wire.ldap.shape import Shapes

logger = logging.getLogger(__name__)

OnLost = Callable[["LdapConnection"], None]
"""Told of a connection that is of no more use."""

READ_SIZE = 64 * 1024
"""Octets read at once. asyncio's own buffer, 256 KiB made anew for every read, costs three system calls a read."""

WHOLE_SECONDS = 1.0
"""How long a message may take to be whole once its length is known: longer than lost packets take."""

MAX_ENTRIES = 1000
"""Entries and references kept of one search at most: a login needs one, and a server may ignore the size limit."""


class Pulse:
    """When a server was last heard on any of its connections, as the event loop's clock tells time."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        self.heard = 0.0


class LdapConnection(asyncio.BufferedProtocol):
    """A connection. Made by :func:`pysaslauthd.directory.connect.Connector.connect`.

    :param timeout: seconds that the server may take for one answer.
    :param on_lost: called once when an open connection is of no more use.
    :param pulse: shared by the connections to one server.
    :param shapes: of the answers to searches; None reads each element by element.
    """

    _transport: asyncio.Transport

    def __init__(
        self, server: ServerUri, timeout: float, on_lost: OnLost, pulse: Pulse, shapes: Shapes | None = None
    ) -> None:
        self.server = server
        self.lost = True
        """Whether the connection is of no use: not yet open, or broken, or closed."""
        self._timeout = timeout
        self._on_lost = on_lost
        self._pulse = pulse
        self._shapes = shapes
        self._loop = asyncio.get_running_loop()
        self.operations: dict[int, Operation] = {}
        """Requests in flight, by messageID."""
        self._finished: list[tuple[Operation, Answer]] = []
        self._next_id = request.FIRST_ID
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._partial = bytearray()
        self._needed = 0
        self._arriving: asyncio.TimerHandle | None = None
        self._out: list[bytes] = []
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._unasked = False

    @property
    def pending(self) -> int:
        """How many requests are in flight."""
        return len(self.operations)

    # -- requests

    def ask(self, template: RequestTemplate, values: Sequence[bytes]) -> Reply[Answer]:
        """Send a request made from a template; the answer's reply, or a :class:`DirectoryError`.

        :raises ValueError: the template cannot hold these values; nothing was sent.
        """
        return self._send(template.encode(self._next_id, values))

    def ask_once(self, encode: Callable[[int], bytes]) -> Reply[Answer]:
        """Send a request of a kind that is too rare for a template; ``encode`` makes it for a messageID."""
        return self._send(encode(self._next_id))

    def _send(self, octets: bytes) -> Reply[Answer]:
        message_id = self._next_id
        now = self._loop.time()
        operation = Operation(now)
        if self.lost:
            operation.fail(ConnectionLost(f"{self.server.text}: the connection is closed"))
            return operation
        self._next_id = message_id + 1 if message_id < request.LAST_ID else request.FIRST_ID
        self.operations[message_id] = operation
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._expire)
        self._write(octets)
        return operation

    def _write(self, octets: bytes) -> None:
        if len(self.operations) == 1 and not self._out:
            self._transport.write(octets)
            return
        self._out.append(octets)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._out and not self.lost:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # -- answers

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where asyncio puts what the server sends."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what the server sent (called by asyncio)."""
        self.receive(bytes(self._buffer[:nbytes]))

    def receive(self, data: bytes) -> None:
        """Take octets from the server, in whatever pieces."""
        if self._arriving is not None:
            self._partial += data
            if len(self._partial) < self._needed:
                return
            data = bytes(self._partial)
            self._partial.clear()
            self._arriving.cancel()
            self._arriving = None
        start = end = 0
        broken, size = "", len(data)
        try:
            while start < size and (end := response.split(data, start)) and end <= size:
                if end < size and self._shapes is not None and (whole := self._shapes.read(data, start, end)):
                    message_id, entry, whole_end = whole
                    operation = self.operations.pop(message_id, None)
                    if operation is not None:
                        entries = operation.entries
                        entries.append(entry)
                        # Not Answer(…), which is a call of Python.
                        parts = self.server, response.SUCCEEDED, NO_CONTROLS, entries, operation.references, b""
                        self._finished.append((operation, tuple.__new__(Answer, parts)))
                        start = whole_end
                        continue
                self._take(response.decode(data[start:end]))
                start = end
        except ProtocolError as error:
            broken = str(error)
        if start:  # only whole messages count: who drips octets for ever is as good as silent
            self._heard = self._pulse.heard = self._loop.time()
        if start < size and not broken:
            self._partial += data[start:] if start else data
            self._needed = end - start
            self._arriving = self._loop.call_later(WHOLE_SECONDS, self._stuck, self._loop.time())
        # Only now, since the same step again finds the processor's caches warm.
        finished, self._finished = self._finished, []
        for operation, answer in finished:
            deliver(operation, answer)
        if broken:
            self._lose(broken)

    def _take(self, message: Response) -> None:
        operation = self.operations.get(message.message_id)
        if operation is None:
            if message.message_id == 0:  # RFC 4511 section 4.4.1: notice of disconnection
                raise ProtocolError(f"the server ends the connection: {response.result(message).message}")
            self._unasked = True
            return  # the late answer to a request that was given up
        kind = message.operation
        if kind == response.SEARCH_ENTRY:
            operation.entries.append(response.entry(message))
        elif kind == response.SEARCH_REFERENCE:
            operation.references.append(response.references(message))
        else:
            self._finish(message.message_id, operation, message, response.result(message))
            return
        if len(operation.entries) + len(operation.references) >= MAX_ENTRIES:
            self._abandon(message.message_id)
            self._finish(message.message_id, operation, message, Result(codes.SIZE_LIMIT_EXCEEDED, "", ()))

    def _finish(self, message_id: int, operation: Operation, message: Response, result: Result) -> None:
        del self.operations[message_id]
        self._finished.append((operation, operation.answer(self.server, message, result)))

    def _abandon(self, message_id: int) -> None:
        abandoning = self._next_id
        self._next_id = abandoning + 1 if abandoning < request.LAST_ID else request.FIRST_ID
        self._write(request.abandon(abandoning, message_id))

    def _expire(self) -> None:
        self._timer = None
        due = self._loop.time() - self._timeout
        late = []
        for message_id, operation in self.operations.items():
            if operation.asked > due:
                self._timer = self._loop.call_at(operation.asked + self._timeout, self._expire)
                break
            late.append((message_id, operation))
        text = f"{self.server.text}: no answer within {self._timeout:g} s"
        for message_id, operation in late:
            if message_id in self.operations:  # failing one may have closed the connection
                del self.operations[message_id]
                silent = operation.asked >= self._pulse.heard
                deliver_failure(operation, DirectoryTimeout(text, silent=silent))
                if not self.lost:
                    self._abandon(message_id)
        if late and late[0][1].asked >= self._heard:
            self._lose(text)  # where the server was heard on other connections, this one is broken

    def _stuck(self, since: float) -> None:
        """Give up a message that is not whole in time, and the connection; another server is asked at once."""
        text = f"{self.server.text}: an answer was not whole after {WHOLE_SECONDS:g} s"
        silent = since >= self._pulse.heard
        stuck, self.operations = self.operations, {}
        for operation in stuck.values():
            deliver_failure(operation, DirectoryTimeout(text, silent=silent))
        self._lose(text)

    # -- the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve (called by asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self.lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended (called by asyncio)."""
        self._lose(str(exc) if exc else "the server closed the connection")

    def _lose(self, why: str) -> None:
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._arriving is not None:
            self._arriving.cancel()
        self._transport.abort()
        # asyncio's TLS holds this object, and this one its transport: 400 kB that would wait for the collector.
        del self._transport, self._buffer
        self._on_lost(self)
        pending, self.operations = self.operations, {}
        if pending:
            logger.info("%s: connection lost with %d requests in flight: %s", self.server.text, len(pending), why)
        for operation in pending.values():
            deliver_failure(operation, ConnectionLost(f"{self.server.text}: {why}"))

    def close(self) -> None:
        """End the connection at once, with an unbind. What is in flight fails with ConnectionLost."""
        if not self.lost and not self._transport.is_closing():
            # The kernel has it when write returns; nobody waits for a server that reads no more.
            self._transport.write(request.unbind(self._next_id))
        self._lose("closed")

    # -- TLS

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin TLS, after the server has agreed to (an asyncio coroutine).

        :raises DirectoryError: octets in the clear came after the agreement, or the connection ended.
        """
        if self._partial or self._unasked:  # they could be anybody's (RFC 4511 section 4.14.1)
            raise DirectoryError("octets in the clear after the StartTLS response")
        if self.lost:
            raise ConnectionLost("the connection ended before TLS began")
        secured = await self._loop.start_tls(self._transport, self, context, server_hostname=self.server.host)
        if secured is None:
            raise ConnectionLost("the connection ended while TLS began")
        self._transport = secured

    @property
    def socket(self) -> socket.socket:
        """What it goes through, while it is open."""
        found: socket.socket = self._transport.get_extra_info("socket")
        return found
