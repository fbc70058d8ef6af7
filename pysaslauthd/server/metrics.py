"""The scrape endpoint: HTTP's ``GET /metrics``, on a TCP port or a UNIX socket, and nothing else.

On the event loop, where the counters live: a thread of its own would take the interpreter's lock from logins for
milliseconds at a time. Needs the extra ``metrics``: h11 reads and writes HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from typing import Any

import h11

from pysaslauthd.config.endpoint import Endpoint, TcpPlace
from pysaslauthd.errors import StartError
from pysaslauthd.server import listener
from pysaslauthd.server.exposition import Exposition
from pysaslauthd.server.listener import Listener, one_by_one

MAX_CONNECTIONS = 8
"""Connections at once: a few Prometheus servers, and somebody who looks."""
MAX_REQUEST = 16384
"""Bytes of a request's line and headers."""
SECONDS = 5.0
"""Longest time for a whole exchange; Prometheus itself gives up after 10 s, if not told otherwise."""

_PATH = b"/metrics"
_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

logger = logging.getLogger(__name__)


def bind(endpoint: Endpoint) -> Listener | socket.socket:
    """The listening socket.

    :raises StartError: it cannot be had.
    """
    if not isinstance(endpoint, TcpPlace):
        return listener.bind(endpoint.path, mode=endpoint.mode, owner=endpoint.owner, group=endpoint.group)
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        return socket.create_server((endpoint.host, endpoint.port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise StartError(f"{endpoint}: cannot listen: {os.strerror(error.errno or 0)}") from error


class MetricsServer:
    """Serves metrics on a socket of :func:`bind`."""

    def __init__(self, exposition: Exposition, listening: Listener | socket.socket) -> None:
        self._exposition = exposition
        self._listening = listening
        self._accepting: asyncio.Server | None = None
        self._exchanges: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve on the running event loop."""
        if isinstance(self._listening, Listener):
            self._listening.start(one_by_one(self._accept), self._exchanges, max_connections=MAX_CONNECTIONS)
        else:
            self._accepting = await asyncio.start_server(self._begin, sock=self._listening)

    def give_up(self) -> None:
        """Close the socket, which has not been served."""
        if isinstance(self._listening, Listener):
            self._listening.stop()
        else:
            self._listening.close()

    async def stop(self) -> None:
        """Accept no more; break off what is under way."""
        if self._accepting is not None:
            self._accepting.close()
        self.give_up()
        for exchange in self._exchanges:
            exchange.cancel()
        if self._exchanges:
            await asyncio.wait(self._exchanges)

    def _accept(self, client: socket.socket) -> None:
        self._run(self._open(client))

    async def _open(self, client: socket.socket) -> None:
        await self._talk(*await asyncio.open_unix_connection(sock=client))

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._exchanges) < MAX_CONNECTIONS:
            self._run(self._talk(reader, writer))
        else:
            writer.transport.abort()

    def _run(self, exchange: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(exchange)
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Then draining means that the kernel has taken all of the answer.
        writer.transport.set_write_buffer_limits(0)
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(await _answer(reader, self._exposition))
                await writer.drain()
                writer.write_eof()
        except OSError as error:  # TimeoutError is one
            logger.debug("metrics: an exchange broke off: %s", error.strerror or f"not done within {SECONDS:g} s")
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            else:
                writer.close()


async def _answer(reader: asyncio.StreamReader, exposition: Exposition) -> bytes:
    """Read one request; the whole answer to it, empty where none came."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(MAX_REQUEST))
    except h11.RemoteProtocolError as error:
        return _response(connection, error.error_status_hint, _TEXT, b"this is no request\n")
    if not isinstance(event, h11.Request):
        return b""
    if event.target.partition(b"?")[0] != _PATH:
        return _response(connection, 404, _TEXT, b"the metrics are at /metrics\n")
    if event.method not in (b"GET", b"HEAD"):
        return _response(connection, 405, _TEXT, b"GET is all there is\n")
    return _response(connection, 200, _PROMETHEUS, exposition.text(), head=event.method == b"HEAD")


def _response(connection: h11.Connection, status: int, kind: str, body: bytes, *, head: bool = False) -> bytes:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
    events: list[h11.Event] = [h11.Response(status_code=status, headers=headers)]
    if not head:
        events.append(h11.Data(data=body))
    return b"".join(connection.send(event) or b"" for event in [*events, h11.EndOfMessage()])
