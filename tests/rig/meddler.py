"""A TCP proxy that meddles: what a network, or a server that is not one, can do to LDAP."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from rig import ldap_messages as messages
from rig.loop import stop_listening

WAYS = ("stall", "cut", "half", "drip", "garbage", "huge", "silent", "refuse")
"""What it can do, besides ``pass`` and ``slow``:

- stall: nothing comes through any more on connections that are open, nor on new ones;
- cut: an answer ends its connection in place of coming through;
- half: half of an answer comes through, then the end;
- drip: an answer comes through an octet at a time, ten in a second;
- garbage, huge: an answer is HTTP, or announces 2 GiB;
- silent: connections that are open are forgotten without a sign, new ones work;
- refuse: nobody listens, and connections that are open end.
"""
SLOW = 0.2
"""Seconds that a request takes to the server where the way is ``slow``: each piece for itself, long but not narrow."""


class _Pair:
    """A client's connection and the one to the server."""

    def __init__(self, way: str) -> None:
        self.forgotten = way == "stall"
        self.writers: list[asyncio.StreamWriter] = []
        self.task = asyncio.current_task()


class Meddler:
    """The proxy, as a context manager, in a thread with an event loop of its own.

    :param port: the loopback port that it leads to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._way = "pass"
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.port = 0

    @property
    def uri(self) -> str:
        """``ldap://127.0.0.1:port``."""
        return f"ldap://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="meddler")
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def meddle(self, way: str) -> None:
        """Do this from now on; ``pass`` for nothing. Connections that were stalled or forgotten stay so."""
        assert way in (*WAYS, "slow", "pass")
        self._call(self._meddle(way))

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _meddle(self, way: str) -> None:
        before, self._way = self._way, "pass" if way == "silent" else way
        if before == "refuse":
            await self._listen()
        if way in ("stall", "silent"):
            for pair in self._pairs:
                pair.forgotten = True
        elif way == "refuse":
            await stop_listening(self._server)
            self._drop()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await stop_listening(self._server)
        self._closing = True
        self._drop()
        # asyncio loses the socket of an attempt to connect that is cancelled.
        for pair in [*self._pairs]:
            if pair.task is not None and len(pair.writers) == 2:
                pair.task.cancel()
        # A connection that was just accepted has no pair yet, but a task.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    def _drop(self) -> None:
        for pair in self._pairs:
            for writer in pair.writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = _Pair(self._way)
        pair.writers.append(writer)
        self._pairs.add(pair)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            pair.writers.append(to_server)
            if self._closing:
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._there(pair, reader, to_server))
                group.create_task(self._back(pair, from_server, writer))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            for each in pair.writers:
                each.transport.abort()
            self._pairs.discard(pair)
            self._tasks.discard(task)

    async def _there(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._way == "slow":
                self._loop.call_later(SLOW, writer.write, data)
            elif not pair.forgotten:
                writer.write(data)
        raise EOFError

    async def _back(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if pair.forgotten:
                continue
            match self._way:
                case "cut":
                    break
                case "half":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    break
                case "drip":
                    for octet in data:
                        writer.write(bytes([octet]))
                        await asyncio.sleep(0.1)
                case "garbage":
                    writer.write(messages.GARBAGE)
                case "huge":
                    writer.write(messages.HUGE_LENGTH + data)
                case _:
                    writer.write(data)
        if not pair.forgotten:
            writer.close()
            raise EOFError
        await asyncio.Event().wait()
