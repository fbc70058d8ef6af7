"""A TCP relay before a directory server, that can lose the connections which carry certain octets, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Any, Literal, Self

from rig.loop import stop_listening
from rig.programs import free_port, wait_until

WATCHES = (b"2.16.840.1.113730.3.4.3", b"1.3.6.1.4.1.4203.1.9.1.1")
"""What the requests hold that a watch begins with: the OIDs of persistent search and of content synchronisation."""

Loss = Literal["cut", "stall"]
"""Closed, or left open with nothing passing."""


class _Pair:
    """A client's connection and the one to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = client, server
        self.watches = False
        self.passes = asyncio.Event()
        self.passes.set()

    def lose(self, how: Loss) -> None:
        if how == "stall":
            self.passes.clear()
        else:
            for end in self.ends:
                end.transport.abort()


class Relay:
    """The relay, as a context manager, in a thread with an event loop of its own.

    :param port: the server's, on the loopback.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._target = port
        self._pairs: set[_Pair] = set()
        self._how: Loss | None = None

    @property
    def uri(self) -> str:
        """``ldap://127.0.0.1:port``."""
        return f"ldap://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port), self._loop
        ).result(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def watches(self) -> int:
        """Connections that a watch has begun on."""
        return sum(pair.watches for pair in self._pairs)

    def lose_watches(self, how: Loss) -> None:
        """Lose every connection with a watch, and each on which one begins, until :meth:`restore`."""

        def lose() -> None:
            self._how = how
            for pair in self._pairs:
                if pair.watches:
                    pair.lose(how)

        self._loop.call_soon_threadsafe(lose)
        wait_until(lambda: self._how == how, "the loss")

    def restore(self) -> None:
        """Lose no more. What is stalled stays so."""
        self._how = None

    async def _stop(self) -> None:
        await stop_listening(self._server)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, to_server)
        self._pairs.add(pair)
        try:
            pumps = [self._pump(pair, reader, to_server, asking=True), self._pump(pair, from_server, writer)]
            ways: list[asyncio.Task[Any]] = [asyncio.ensure_future(pump) for pump in pumps]
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self._pairs.discard(pair)
            for end in pair.ends:
                end.transport.abort()

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asking: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65536):
                if asking and any(mark in data for mark in WATCHES):
                    pair.watches = True
                    if self._how is not None:
                        pair.lose(self._how)
                await pair.passes.wait()
                writer.write(data)
                await writer.drain()
