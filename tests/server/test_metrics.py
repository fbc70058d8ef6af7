from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pysaslauthd.config.endpoint import Endpoint, TcpPlace
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.errors import StartError
from pysaslauthd.metrics import Metrics
from pysaslauthd.server import metrics as endpoint
from pysaslauthd.server.exposition import Exposition
from pysaslauthd.server.metrics import MAX_CONNECTIONS, MAX_REQUEST, MetricsServer
from rig.clock import Clock
from rig.loop import run
from rig.programs import free_port

from .test_exposition import READINGS

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def place(kind: str, folder: Path) -> Endpoint:
    if kind == "unix":
        return SocketPlace(str(folder / "metrics"), 0o600)
    return TcpPlace("127.0.0.1" if kind == "tcp" else "::1", free_port())


async def connect(at: Endpoint) -> Stream:
    if isinstance(at, TcpPlace):
        return await asyncio.open_connection(at.host, at.port)
    return await asyncio.open_unix_connection(at.path)


@contextlib.asynccontextmanager
async def serving(at: Endpoint) -> AsyncIterator[MetricsServer]:
    server = MetricsServer(Exposition(Metrics(), lambda: READINGS), endpoint.bind(at))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(at: Endpoint, request: bytes) -> bytes:
    reader, writer = await connect(at)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def close(*streams: Stream) -> None:
    for _, writer in streams:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


EPOLLRDHUP = 0x2000  # epoll_ctl(2); PyPy's select module lacks it


async def closed(client: socket.socket) -> None:
    """Wait for the end of what the other side sends, without taking it."""
    with select.epoll() as poll:
        poll.register(client, EPOLLRDHUP)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(poll.fileno(), ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(poll.fileno())


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix"])
def test_metrics_are_served_over_http(kind: str, tmp_path: Path) -> None:
    async def go() -> None:
        at = place(kind, tmp_path)
        async with serving(at):
            answer = await exchange(at, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 \r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:])
        assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
        assert headers[b"content-length"] == b"%d" % len(body)
        assert headers[b"connection"] == b"close"
        assert b'\npysaslauthd_info{version="1.2.3"} 1.0\n' in body

    run(go())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics?name[]=x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"x" * MAX_REQUEST, 431),
    ],
)
def test_each_request_has_its_status(request_: bytes, status: int, tmp_path: Path) -> None:
    async def go() -> None:
        at = place("unix", tmp_path)
        async with serving(at):
            answer = await exchange(at, request_)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert bool(answer.partition(b"\r\n\r\n")[2]) == (not request_.startswith(b"HEAD"))

    run(go())


def test_a_request_may_come_octet_by_octet(tmp_path: Path) -> None:
    async def go() -> None:
        at = place("unix", tmp_path)
        async with serving(at):
            reader, writer = await connect(at)
            for octet in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
                writer.write(bytes([octet]))
                await writer.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            await close((reader, writer))

    run(go())


def test_who_goes_without_asking_gets_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        at = place("unix", tmp_path)
        async with serving(at):
            for said in (b"", b"GET /met"):
                reader, writer = await connect(at)
                writer.write(said)
                writer.write_eof()
                assert (await reader.read())[:13] in (b"", b"HTTP/1.1 400 ")
                await close((reader, writer))

    run(go())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_no_more_than_so_many_are_served_at_once(kind: str, tmp_path: Path) -> None:
    async def go() -> None:
        at = place(kind, tmp_path)
        async with serving(at):
            silent = [await connect(at) for _ in range(MAX_CONNECTIONS)]
            for _, writer in silent:
                writer.write(b"GET ")
            with contextlib.suppress(ConnectionError):
                assert await exchange(at, b"GET /metrics HTTP/1.0\r\n\r\n") == b""
            await close(silent.pop())
            answer = b""
            while not answer:  # until the server has seen that one is gone
                answer = await _once_more(at)
            assert answer.startswith(b"HTTP/1.1 200 ")
            await close(*silent)

    run(go())


async def _once_more(at: Endpoint) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await exchange(at, b"GET /metrics HTTP/1.0\r\n\r\n")
    return b""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_silent_client_is_cut_off(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SECONDS", 0.05)

    async def go() -> None:
        at = place(kind, tmp_path)
        async with serving(at):
            stream = await connect(at)
            with contextlib.suppress(ConnectionError):
                assert await stream[0].read() == b""
            await close(stream)

    run(go())


def test_a_client_that_does_not_take_the_answer_is_cut_off(tmp_path: Path) -> None:
    many = READINGS._replace(servers=[ServerState(f"ldap://ds{n}/", up=True, seconds=5.0) for n in range(3000)])

    async def go() -> None:
        clock = Clock()
        at = place("unix", tmp_path)
        server = MetricsServer(Exposition(Metrics(), lambda: many), endpoint.bind(at))
        await server.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(tmp_path / "metrics"))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            received = await asyncio.get_running_loop().sock_recv(client, 65536)
            clock.move(endpoint.SECONDS)
            await closed(client)
            with contextlib.suppress(ConnectionResetError):
                while piece := client.recv(65536):
                    received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.lower().splitlines() if line.startswith(b"content-length: "))
        assert 0 < len(body) < length
        await server.stop()

    run(go())


def test_the_stop_breaks_off_what_is_under_way_and_removes_the_socket(tmp_path: Path) -> None:
    async def go() -> None:
        at = place("unix", tmp_path)
        async with serving(at):
            stream = await connect(at)
            assert await exchange(at, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert await stream[0].read() == b""
        await close(stream)
        assert not (tmp_path / "metrics").exists()

    run(go())


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"^127\.0\.0\.1:{port}: cannot listen: Address already in use$"):
            endpoint.bind(TcpPlace("127.0.0.1", port))


def test_a_socket_can_be_given_up_before_it_is_served(tmp_path: Path) -> None:
    for kind in ("tcp", "unix"):
        at = place(kind, tmp_path)
        MetricsServer(Exposition(Metrics(), lambda: READINGS), endpoint.bind(at)).give_up()
        MetricsServer(Exposition(Metrics(), lambda: READINGS), endpoint.bind(at)).give_up()
    assert not (tmp_path / "metrics").exists()
