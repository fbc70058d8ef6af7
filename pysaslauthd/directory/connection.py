"""One connection to one LDAP server: many searches in flight, or one bind at a time.

Requests of one turn of the event loop leave in one write after the first; an answer resumes the flow that
waits for it on the spot (:mod:`pysaslauthd.flow`). Every request has the same time-out, so that the oldest
is always the next to expire and one timer serves them all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pysaslauthd.errors import ConnectionLost, DirectoryRefused, DirectoryTimeout, ProtocolError
from pysaslauthd.flow import Reply
from pysaslauthd.wire.ldap import request, response
from pysaslauthd.wire.ldap.request import RequestTemplate
from pysaslauthd.wire.ldap.response import Response, Result

logger = logging.getLogger(__name__)

MAX_ENTRIES = 1000
"""Entries kept of one search at most: a login needs one, and a server may ignore the size limit."""

_SIZE_LIMIT_EXCEEDED = 4


class Answer(NamedTuple):
    """All that came for one request: its result, and a search's entries and continuation references."""

    result: Result
    response: Response
    entries: list[tuple[bytes, dict[str, list[bytes]]]]
    references: list[str]


class _Operation:
    """A request that waits for its answer."""

    __slots__ = ("asked", "entries", "references", "reply")

    def __init__(self, asked: float) -> None:
        self.reply: Reply[Answer] = Reply()
        self.asked = asked
        self.entries: list[tuple[bytes, dict[str, list[bytes]]]] = []
        self.references: list[str] = []


class LdapConnection(asyncio.Protocol):
    """An open connection. Made by :func:`pysaslauthd.directory.connect.connect`.

    :param name: the server's URI, for messages.
    :param timeout: seconds that the server may take for one answer.
    :param on_lost: called once when the connection is of no more use.
    """

    def __init__(self, name: str, timeout: float, on_lost: Callable[[LdapConnection], None]) -> None:
        self.name = name
        self._timeout = timeout
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, _Operation] = {}
        self._next_id = request.FIRST_ID
        self._partial = bytearray()
        self._out: list[bytes] = []
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._last_heard = 0.0
        self.lost = False
        """Whether the connection is of no more use."""

    @property
    def pending(self) -> int:
        """Requests in flight."""
        return len(self._pending)

    # -- requests

    def ask(self, template: RequestTemplate, values: Sequence[bytes]) -> Reply[Answer]:
        """Send a request made from a template; the answer's reply, or a :class:`DirectoryError`.

        :raises ValueError: the template cannot hold these values; nothing was sent.
        """
        message_id = self._next_id
        return self._send(message_id, template.encode(message_id, values))

    def ask_once(self, encode: Callable[[int], bytes]) -> Reply[Answer]:
        """Send a request of a kind that is too rare for a template; ``encode`` makes it for a messageID."""
        message_id = self._next_id
        return self._send(message_id, encode(message_id))

    def _send(self, message_id: int, octets: bytes) -> Reply[Answer]:
        now = self._loop.time()
        operation = _Operation(now)
        if self.lost:
            operation.reply.fail(ConnectionLost(f"{self.name}: the connection is closed"))
            return operation.reply
        self._next_id = message_id + 1 if message_id < request.LAST_ID else request.FIRST_ID
        self._pending[message_id] = operation
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._expire)
        self._write(octets)
        return operation.reply

    def _write(self, octets: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - connection_made came before the first request
        if self._flushing:
            self._out.append(octets)
        else:
            self._flushing = True
            self._loop.call_soon(self._flush)
            self._transport.write(octets)

    def _flush(self) -> None:
        self._flushing = False
        if self._out and self._transport is not None and not self.lost:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # -- answers

    def data_received(self, data: bytes) -> None:
        """Take what the server sent, in whatever pieces (called by asyncio)."""
        self._last_heard = self._loop.time()
        if self._partial:
            self._partial += data
            data = bytes(self._partial)
            self._partial.clear()
        start = 0
        try:
            while (end := response.split(data, start)) and end <= len(data):
                self._take(response.decode(data[start:end]))
                start = end
        except ProtocolError as error:
            self._lose(str(error))
            return
        if start < len(data) and not self.lost:
            self._partial += data[start:] if start else data

    def _take(self, message: Response) -> None:
        operation = self._pending.get(message.message_id)
        if operation is None:
            if message.message_id == 0:  # RFC 4511 section 4.4.1: notice of disconnection
                raise ProtocolError(f"the server ends the connection: {response.result(message).message}")
            return  # the late answer to a request that was given up
        kind = message.operation
        if kind == response.SEARCH_ENTRY:
            operation.entries.append(response.entry(message))
            if len(operation.entries) >= MAX_ENTRIES:
                self._give_up(message.message_id)
                enough = Result(_SIZE_LIMIT_EXCEEDED, "", ())
                operation.reply.set(Answer(enough, message, operation.entries, operation.references))
        elif kind == response.SEARCH_REFERENCE:
            operation.references.extend(response.references(message))
        else:
            answer = Answer(response.result(message), message, operation.entries, operation.references)
            del self._pending[message.message_id]
            operation.reply.set(answer)

    def _give_up(self, message_id: int) -> None:
        del self._pending[message_id]
        abandoning = self._next_id
        self._next_id = abandoning + 1 if abandoning < request.LAST_ID else request.FIRST_ID
        self._write(request.abandon(abandoning, message_id))

    def _expire(self) -> None:
        self._timer = None
        due = self._loop.time() - self._timeout
        late = []
        for message_id, operation in self._pending.items():
            if operation.asked > due:
                self._timer = self._loop.call_at(operation.asked + self._timeout, self._expire)
                break
            late.append((message_id, operation))
        for message_id, operation in late:
            if message_id in self._pending:  # failing one may have closed the connection
                self._give_up(message_id)
                silent = operation.asked >= self._last_heard
                text = f"{self.name}: no answer within {self._timeout:g} s"
                operation.reply.fail(DirectoryTimeout(text, silent=silent))

    # -- the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport (called by asyncio; again after StartTLS)."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - all stream transports are
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended (called by asyncio)."""
        self._lose(str(exc) if exc else "the server closed the connection")

    def _lose(self, why: str) -> None:
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._on_lost(self)
        pending, self._pending = self._pending, {}
        if pending:
            logger.info("%s: connection lost with %d requests in flight: %s", self.name, len(pending), why)
        for operation in pending.values():
            operation.reply.fail(ConnectionLost(f"{self.name}: {why}"))

    def close(self) -> None:
        """End the connection politely. What is in flight fails with ConnectionLost."""
        if not self.lost and self._transport is not None:
            self._transport.write(request.unbind(self._next_id))
            self._transport.close()
            self._transport = None
        self._lose("closed")

    # -- StartTLS

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for StartTLS and socket options."""
        assert self._transport is not None  # noqa: S101 - connected
        return self._transport

    @property
    def has_unread(self) -> bool:
        """Whether part of a message waits for its rest: never right before TLS begins."""
        return bool(self._partial)

    def socket(self) -> socket.socket | None:
        """The socket below, where the transport tells."""
        found: socket.socket | None = self.transport.get_extra_info("socket")
        return found


def refuse(answer: Answer, doing: str) -> DirectoryRefused:
    """The error for a result that says nothing about the user."""
    code, message, referrals = answer.result
    if referrals:
        message = f"{message} referral to {' '.join(referrals)}".strip()
    return DirectoryRefused(code, message, doing)
