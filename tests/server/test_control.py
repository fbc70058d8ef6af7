"""The control socket, as clients of all kinds find it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.errors import CommandError
from pysaslauthd.server import control as module
from pysaslauthd.server import listener
from pysaslauthd.server.control import MAX_CONNECTIONS, ControlServer
from pysaslauthd.wire.control import MAX_REQUEST, Request
from server.loop import on_a_loop

HOLD = '{"command": "hold"}'


class Daemon:
    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.held = asyncio.Event()

    async def answer(self, request: Request) -> Mapping[str, Any]:
        self.asked.append(request)
        match request.command:
            case "hold":
                self.held.set()
                await asyncio.get_running_loop().create_future()
            case "refuse":
                raise CommandError("failed", "not now")
            case "break":
                raise ZeroDivisionError
            case "big":
                return {"text": "x" * 1_000_000}
        return {"asked": request.command, **request.arguments}


@asynccontextmanager
async def serving(tmp_path: Path, *users: int) -> AsyncIterator[tuple[Daemon, Path]]:
    daemon, path = Daemon(), tmp_path / "control"
    server = ControlServer(listener.bind(str(path), mode=0o600), daemon.answer, frozenset(users or {os.getuid()}))
    server.start()
    try:
        yield daemon, path
    finally:
        await server.stop()
        assert not path.exists()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 21)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def say(path: Path, *lines: str | bytes) -> list[dict[str, Any]]:
    """Send lines over one connection, end it, and give the replies."""
    async with connected(path) as (reader, writer):
        for line in lines:
            writer.write((line.encode() if isinstance(line, str) else line) + b"\n")
        with suppress(OSError):  # it may have closed already
            writer.write_eof()
        return [json.loads(line) for line in (await reader.read()).splitlines()]


@on_a_loop
async def test_each_line_gets_its_reply(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await say(path, '{"command": "a", "n": 1}', "", '{"command": "b"}') == [
            {"asked": "a", "n": 1},
            {"asked": "b"},
        ]
        assert daemon.asked == [Request("a", {"n": 1}), Request("b", {})]


@on_a_loop
async def test_a_line_may_come_in_pieces_and_without_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path), connected(path) as (reader, writer):
        for octet in b'{"command": "a"}':
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        assert json.loads(await reader.read()) == {"asked": "a"}


@on_a_loop
async def test_what_is_wrong_gets_one_error_and_the_connection_goes_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (_, path):
        replies = await say(path, "status", '{"command": "refuse"}', '{"command": "break"}', '{"command": "a"}')
        assert [reply.get("error") for reply in replies] == ["bad-request", "failed", "failed", None]
        assert replies[1]["message"] == "not now"
        assert replies[2]["message"] == "internal error: ZeroDivisionError, see the log"


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, 3 * MAX_REQUEST, 2_000_000])
def test_an_overlong_line_is_told_so_and_ends_the_connection(tmp_path: Path, size: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving(tmp_path) as (daemon, path):
            (reply,) = await say(path, b"x" * size, '{"command": "a"}')
            assert reply == {"error": "bad-request", "message": f"a request has at most {MAX_REQUEST} bytes"}
            assert daemon.asked == []

    test()


@on_a_loop
async def test_a_line_of_the_greatest_length_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        line = '{"command": "a"}'
        assert await say(path, line + " " * (MAX_REQUEST - len(line) - 1)) == [{"asked": "a"}]


@on_a_loop
async def test_a_big_reply_arrives_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        (reply,) = await say(path, '{"command": "big"}')
        assert len(reply["text"]) == 1_000_000


@on_a_loop
async def test_another_user_is_told_so_and_asks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, 4711) as (daemon, path):
        (reply,) = await say(path, '{"command": "a"}')
        assert reply == {"error": "not-permitted", "message": "only root and the daemon's user may ask; try sudo"}
        assert daemon.asked == []
        assert f"control: process {os.getpid()} (uid {os.getuid()}): refused" in caplog.text


@on_a_loop
async def test_who_says_nothing_is_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)
    async with serving(tmp_path) as (_, path), connected(path) as (reader, writer):
        writer.write(b'{"command"')
        assert await reader.read() == b""


@on_a_loop
async def test_who_does_not_read_is_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.05)
    async with serving(tmp_path) as (_, path):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(path))
            client.send(b'{"command": "big"}\n' * 3)
            ended = select.poll()
            ended.register(client, 0)  # POLLHUP, which is told in any case: all that has been sent is there to be read
            assert await asyncio.to_thread(ended.poll, 60_000)
            read = 0
            while octets := await asyncio.get_running_loop().sock_recv(client, 65536):
                read += len(octets)
            assert read < 1_000_000


@on_a_loop
async def test_what_takes_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    async with serving(tmp_path) as (_, path):
        assert await say(path, HOLD, '{"command": "a"}') == [
            {"error": "failed", "message": "not done within 0.05 s"},
            {"asked": "a"},
        ]


@on_a_loop
async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, path), AsyncExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            _, writer = await stack.enter_async_context(connected(path))
            writer.write(HOLD.encode() + b"\n")
            await daemon.held.wait()
            daemon.held.clear()
        reader, _ = await stack.enter_async_context(connected(path))
        assert await reader.read() == b""


@on_a_loop
async def test_a_stop_breaks_off_what_is_under_way(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with serving(tmp_path) as (daemon, path):
            reader, writer = await stack.enter_async_context(connected(path))
            writer.write(HOLD.encode() + b"\n")
            await daemon.held.wait()
        assert await reader.read() == b""
