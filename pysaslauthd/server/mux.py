"""The mux socket's shell: octets from a client to the authenticator, the verdict back.

The common case is one callback of the event loop: accept, one read, parse, an answer that is known at once,
one write, close. Whatever must wait (for octets, for a directory) goes on from the same object.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol

from pysaslauthd.errors import ProtocolError
from pysaslauthd.metrics import Fault
from pysaslauthd.model import AuthRequest, Outcome, Verdict
from pysaslauthd.server.deadlines import Deadlines
from pysaslauthd.server.listener import MAX_CONNECTIONS, Listener, peer_of
from pysaslauthd.wire import mux

ARRIVAL_SECONDS = 10.0
"""Longest time for a request to arrive whole. Clients run on this machine and have the request at hand when
they connect; ten seconds forgive one that is swapped out."""

LINGER_SECONDS = 2.0
"""Longest time to read on after an answer that came before the client had sent everything."""

_READ_SIZE = 4096
"""Octets read at once: more than nearly every request has. PyPy makes room for them all anew for each read."""
_DONT_WAIT = socket.MSG_DONTWAIT
_ACCEPTED = Verdict.ACCEPTED
_REJECTED = Verdict.REJECTED

logger = logging.getLogger(__name__)


class Authenticator(Protocol):
    """What decides."""

    def authenticate(self, request: AuthRequest, then: Callable[[Outcome], None]) -> None:
        """Call ``then`` exactly once, perhaps before returning. Never raises."""


class MuxServer:
    """Serves the mux protocol on one listening socket.

    :param unavailable: what a client gets when nobody knows whether its password is right: ``close`` the
        connection without an answer, the only temporary failure that the protocol has (Postfix says 454), or
        ``no``, as the original does (Postfix says 535: wrong password).
    :param max_connections: bound on open connections; further ones are closed at once.
    :param arrival_seconds: time limit for a request to arrive whole.
    :param linger_seconds: time limit for a client to end its side after an early answer.

    ``served`` counts the requests that got their verdict, ``faults`` those that were none.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        listener: Listener,
        *,
        unavailable: Literal["close", "no"] = "close",
        max_connections: int = MAX_CONNECTIONS,
        arrival_seconds: float = ARRIVAL_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self.served = 0
        self.faults: Counter[Fault] = Counter()
        self._authenticator = authenticator
        self._listener = listener
        self._unavailable = mux.NO if unavailable == "no" else b""
        self._max_connections = max_connections
        self._exchanges: set[_Exchange] = set()
        self._arriving: Deadlines[_Exchange] = Deadlines(arrival_seconds, _Exchange.expire)
        self._lingering: Deadlines[_Exchange] = Deadlines(linger_seconds, _Exchange.close)
        self._answered: list[tuple[_Exchange, bytes]] = []
        self._gathering = False
        self._empty: asyncio.Event | None = None

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._exchanges)

    def start(self) -> None:
        """Serve on the running event loop."""
        self._listener.start(self._serve, self._exchanges, max_connections=self._max_connections)

    async def stop(self, seconds: float) -> None:
        """Accept no more, answer what has been asked, close.

        A request that is still arriving has the linger time left to do so.

        :param seconds: longest time for all of this; what is open then is closed without an answer.
        """
        self._listener.stop()
        for exchange in list(self._arriving):
            exchange.hurry()
        if self._exchanges:
            self._empty = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            for exchange in list(self._exchanges):
                exchange.close()
        self._arriving.stop()
        self._lingering.stop()

    def _serve(self, accepted: list[socket.SocketType]) -> None:
        exchanges = [_Exchange(self, connection) for connection in accepted]
        self._exchanges.update(exchanges)
        if len(exchanges) == 1:
            exchanges[0].receive()  # its client goes on while the rest is done
            return
        # Step by step for all that came together, since the same step again finds the processor's caches warm: that
        # halves the time of each.
        received = [(exchange, exchange.read()) for exchange in exchanges]
        self._gathering = True
        try:
            for exchange, data in received:
                if data is not None:
                    exchange.take(data)
        finally:
            self._send_answers()

    def _answer_later(self, exchange: _Exchange, reply: bytes) -> None:
        """Send an answer with the others of this turn of the event loop.

        Each wakes a client, which may take the processor: what is left to do here is done first, and the directory has
        the turn's requests before the clients have its answers.
        """
        self._answered.append((exchange, reply))
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._send_answers)

    def _send_answers(self) -> None:
        self._gathering = False
        answered, self._answered = self._answered, []
        for exchange, reply in answered:
            exchange.send(reply)


class _Exchange:
    """One connection: a request on its way in, its decision, the answer on its way out.

    It is watched for octets, with a deadline, while the request arrives and while it lingers. While the
    decision is awaited nothing is read: that wait is the authenticator's to bound.
    """

    __slots__ = ("_connection", "_deadlines", "_early", "_peer", "_received", "_server", "_spare")

    def __init__(self, server: MuxServer, connection: socket.SocketType) -> None:
        self._server = server
        self._connection = connection
        self._peer = peer_of(connection)
        self._received = b""
        self._deadlines: Deadlines[_Exchange] | None = None

    def receive(self) -> None:
        """Read what is there; ask as soon as the request is complete."""
        data = self.read()
        if data is not None:
            self.take(data)

    def read(self) -> bytes | None:
        """What is there, nothing where the client has ended; None: wait for more."""
        try:
            return self._connection.recv(_READ_SIZE, _DONT_WAIT)
        except BlockingIOError:
            self._await_more()
            return None
        except OSError:
            return b""  # reset: as good as ended

    def take(self, data: bytes) -> None:
        """Go on with what was read."""
        if not data:
            logger.debug("%s: a request broke off after %d octets", self._name, len(self._received))
            if self._received:
                self._server.faults["incomplete"] += 1
            self.close()
            return
        before = self._received
        if before:
            data = before + data
        try:
            received = mux.parse(data, self._peer)
        except ProtocolError as error:
            logger.warning("%s: a request is refused: %s", self._name, error)
            self._server.faults["malformed"] += 1
            self._early = True
            self.send(mux.NO)
            return
        if received is None:
            self._received = data
            self._await_more()
            return
        request, octets = received
        if self._deadlines is not None:
            self._unwatch()
        # A client that writes piece by piece may have a fifth string still to come; so may one that filled the read.
        self._early = bool(before) or octets != len(data) or octets == _READ_SIZE
        self._server._authenticator.authenticate(request, self._answer)

    def expire(self) -> None:
        """The request has not arrived in time."""
        logger.info("%s: no whole request within %g s", self._name, self._server._arriving.seconds)
        self._server.faults["late"] += 1
        self.close()

    def hurry(self) -> None:
        """The server stops: the rest of the request must come soon."""
        self._server._arriving.discard(self)
        self._deadlines = self._server._lingering
        self._deadlines.add(self)

    def close(self) -> None:
        """End the connection, whatever its state."""
        if self._deadlines is not None:
            self._unwatch()
        self._connection.close()
        server = self._server
        server._exchanges.discard(self)
        if server._empty is not None and not server._exchanges:
            server._empty.set()

    @property
    def _name(self) -> str:
        return f"{self._server._listener.path}: process {self._peer.pid} (uid {self._peer.uid})"

    def _answer(self, outcome: Outcome) -> None:
        server = self._server
        server.served += 1
        verdict = outcome.reason.verdict
        reply = mux.OK if verdict is _ACCEPTED else mux.NO if verdict is _REJECTED else server._unavailable
        if len(server._exchanges) > 1:
            server._answer_later(self, reply)
        else:
            self.send(reply)

    def send(self, reply: bytes) -> None:
        """Give the client its answer, perhaps none, and end."""
        try:
            if reply:
                self._connection.send(reply, _DONT_WAIT)
            if self._early:
                # Closing over unread octets would take the reply from the client and give it ECONNRESET.
                self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()  # the client has gone
            return
        if self._early:
            self._spare = mux.LARGEST_ANNOUNCED
            self._unwatch()
            self._watch(self._discard, self._server._lingering)
        else:
            self.close()

    def _discard(self) -> None:
        try:
            size = len(self._connection.recv(_READ_SIZE, _DONT_WAIT))
        except OSError:
            size = 0
        self._spare -= size
        if not size or self._spare <= 0:
            self.close()

    def _await_more(self) -> None:
        if self._deadlines is None:
            self._watch(self.receive, self._server._arriving)

    def _watch(self, ready: Callable[[], None], deadlines: Deadlines[_Exchange]) -> None:
        self._deadlines = deadlines
        deadlines.add(self)
        asyncio.get_running_loop().add_reader(self._connection, ready)

    def _unwatch(self) -> None:
        if self._deadlines is not None:
            self._deadlines.discard(self)
            self._deadlines = None
            asyncio.get_running_loop().remove_reader(self._connection)
