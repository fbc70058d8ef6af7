"""A directory that is far away: a TCP proxy that passes on what clients send a fixed time later.

Each piece waits for its own time, so that requests sent one behind the other arrive so as well: the way is
long, not narrow. Answers come back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class _FromServer(asyncio.Protocol):
    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        if not self._client.is_closing():
            self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()


class _FromClient(asyncio.Protocol):
    def __init__(self, host: str, port: int, delay: float, opened: set[asyncio.Transport]) -> None:
        self._server = (host, port)
        self._delay = delay
        self._opened = opened
        self._pieces: deque[bytes] = deque()
        self._writable: asyncio.Transport | None = None
        self._due = 0
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._loop = asyncio.get_running_loop()
        self._client = transport
        self._opened.add(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            transport, _ = await self._loop.create_connection(lambda: _FromServer(self._client), *self._server)
        except OSError:
            self._client.abort()
            return
        self._opened.add(transport)
        self._writable = transport
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._loop.call_later(self._delay, self._fall_due)

    def connection_lost(self, exc: Exception | None) -> None:
        # After the pieces that are still under way.
        self._loop.call_later(self._delay + 0.01, self._close)

    def _close(self) -> None:
        if self._writable is not None:
            self._writable.close()

    def _fall_due(self) -> None:
        # Timers of the same moment may run in any order; the pieces leave in theirs.
        self._due += 1
        self._flush()

    def _flush(self) -> None:
        while self._writable is not None and self._due:
            self._due -= 1
            piece = self._pieces.popleft()
            if not self._writable.is_closing():
                self._writable.write(piece)


@contextlib.contextmanager
def delaying(port: int, delay: float) -> Iterator[int]:
    """A loopback port that leads to another one, ``delay`` seconds away."""
    loop = asyncio.new_event_loop()
    opened: set[asyncio.Transport] = set()
    server = loop.run_until_complete(
        loop.create_server(lambda: _FromClient("127.0.0.1", port, delay, opened), "127.0.0.1", 0)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for transport in opened:
            transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
