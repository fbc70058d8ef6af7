"""Listening sockets: how they come to be, what they leave alone, how accepting survives."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pysaslauthd.errors import StartError
from pysaslauthd.model import Peer
from pysaslauthd.server import listener
from server.loop import on_a_loop


class Greeter:
    """Says hello to each connection; keeps those open that it is told to keep."""

    def __init__(self, *, keep: bool = False) -> None:
        self.keep = keep
        self.open: set[socket.SocketType] = set()

    def serve(self, accepted: list[socket.SocketType]) -> None:
        for connection in accepted:
            with suppress(BrokenPipeError):
                connection.send(b"hello")
            if self.keep:
                self.open.add(connection)
            else:
                connection.close()

    def close(self) -> None:
        while self.open:
            self.open.pop().close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(path))
    return client


async def greeting(client: socket.socket) -> bytes:
    client.setblocking(False)
    with client:
        return await asyncio.get_running_loop().sock_recv(client, 100)


async def greeting_at(path: Path) -> bytes:
    return await greeting(connected(path))


@pytest.fixture(autouse=True)
def strange_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("wanted", [0o777, 0o660, 0o600])
def test_the_socket_is_made_with_its_mode_whatever_the_umask(tmp_path: Path, wanted: int) -> None:
    bound = listener.bind(str(tmp_path / "mux"), mode=wanted)
    assert mode(tmp_path / "mux") == wanted
    bound.stop()


def test_the_umask_is_as_before(tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "folder" / "mux")).stop()
    assert os.umask(0o077) == 0o077


def test_everybody_may_connect_by_default(tmp_path: Path) -> None:
    listener.bind(str(tmp_path / "mux")).stop()
    bound = listener.bind(str(tmp_path / "mux"))
    assert mode(tmp_path / "mux") == 0o777
    bound.stop()


def test_owner_and_group_are_set(tmp_path: Path) -> None:
    owner, group = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    bound = listener.bind(str(tmp_path / "mux"), mode=0o660, owner=owner, group=group)
    there = (tmp_path / "mux").stat()
    assert (there.st_uid, there.st_gid) == (owner, group)
    assert mode(tmp_path / "mux") == 0o660
    bound.stop()


def test_nothing_is_left_when_the_owner_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(StartError, match="Operation not permitted"):
        listener.bind(str(tmp_path / "mux"), group=0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    bound = listener.bind(str(tmp_path / "saslauthd" / "mux"))
    assert mode(tmp_path / "saslauthd") == 0o755
    bound.stop()


def test_only_one_missing_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        listener.bind(str(tmp_path / "misspelt" / "saslauthd" / "mux"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_fits_no_socket_address_is_one_clear_error(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (107 - len(str(tmp_path)) - 1))
    listener.bind(str(longest)).stop()
    with pytest.raises(StartError, match="can have 107 bytes, this one has 108"):
        listener.bind(f"{longest}x")


def test_the_length_of_a_path_is_counted_in_bytes(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="can have 107 bytes"):
        listener.bind(str(tmp_path / ("é" * 60)))


@on_a_loop
async def test_a_living_daemons_socket_stays_and_its_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    living = listener.bind(str(path))
    living.start(Greeter().serve, ())
    with pytest.raises(StartError, match=f"process {os.getpid()} listens"):
        listener.bind(str(path))
    assert await greeting_at(path) == b"hello"
    living.stop()


def test_a_daemon_too_busy_to_accept_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with connected(path), pytest.raises(StartError, match="listens on it already"):
            listener.bind(str(path))
    assert path.is_socket()


@on_a_loop
async def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bound = listener.bind(str(path))
    bound.start(Greeter().serve, ())
    assert await greeting_at(path) == b"hello"
    bound.stop()


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    path.write_text("precious")
    with pytest.raises(StartError, match="is not a socket"):
        listener.bind(str(path))
    assert path.read_text() == "precious"


def test_a_symbolic_link_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="is not a socket"):
        listener.bind(str(path))
    assert path.is_symlink()


def test_a_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        with pytest.raises(StartError, match="cannot make the socket"):
            listener.bind(str(path))
    assert path.is_socket()


def test_stop_removes_the_socket_even_if_it_never_served(tmp_path: Path) -> None:
    bound = listener.bind(str(tmp_path / "mux"))
    bound.stop()
    bound.stop()
    assert list(tmp_path.iterdir()) == []


def test_stop_leaves_another_daemons_socket(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    first = listener.bind(str(path))
    path.unlink()
    second = listener.bind(str(path))
    first.stop()
    assert path.is_socket()
    second.stop()
    assert not path.exists()


def test_stop_without_the_right_to_remove_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    bound = listener.bind(str(tmp_path / "mux"))
    monkeypatch.setattr(os, "unlink", refuse)
    bound.stop()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/mux: cannot remove the socket: Permission denied"
    ]


@on_a_loop
async def test_who_connected_before_the_stop_is_served(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    bound = listener.bind(str(path))
    bound.start(Greeter().serve, ())
    waiting = [connected(path) for _ in range(100)]
    bound.stop()
    assert [await greeting(client) for client in waiting] == [b"hello"] * 100


@on_a_loop
async def test_an_adopted_socket_serves_and_outlives_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with socket.socket(socket.AF_UNIX) as systemds:
        systemds.bind(str(path))
        systemds.listen()
        adopted = listener.adopt(os.dup(systemds.fileno()))
        assert adopted.path == str(path)
        adopted.start(Greeter().serve, ())
        assert await greeting_at(path) == b"hello"
        client = connected(path)
        adopted.stop()
        assert path.is_socket()
        adopted = listener.adopt(os.dup(systemds.fileno()))
        adopted.start(Greeter().serve, ())
        assert await greeting(client) == b"hello"
        adopted.stop()


def test_what_does_not_listen_cannot_be_adopted(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(StartError, match="not a socket"):
        listener.adopt(file.fileno())
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as idle, pytest.raises(StartError, match="not a listening UNIX"):
            listener.adopt(idle.fileno())
    with socket.create_server(("127.0.0.1", 0)) as tcp, pytest.raises(StartError, match="not a listening UNIX"):
        listener.adopt(tcp.fileno())


def test_the_peer_is_the_process_that_connected() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert listener.peer_of(one) == Peer(os.getpid(), os.geteuid(), os.getegid())


@on_a_loop
async def test_more_than_one_wake_up_can_accept_are_all_accepted(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    bound = listener.bind(str(path))
    bound.start(Greeter().serve, ())
    clients = [connected(path) for _ in range(2 * listener.ACCEPTS_PER_WAKE + 1)]
    assert {await greeting(client) for client in clients} == {b"hello"}
    bound.stop()


@contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@on_a_loop
async def test_accepting_survives_a_lack_of_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(listener, "ACCEPT_PAUSE", 0.001)
    path = tmp_path / "mux"
    bound = listener.bind(str(path))
    failed = asyncio.Semaphore(0)
    rest = listener.Listener._rest

    def counted(self: listener.Listener, error: OSError) -> None:
        rest(self, error)
        failed.release()

    monkeypatch.setattr(listener.Listener, "_rest", counted)
    bound.start(Greeter().serve, ())
    client = connected(path)
    with descriptors_left(0):
        for _ in range(3):
            await failed.acquire()
    assert await greeting(client) == b"hello"
    assert await greeting_at(path) == b"hello"
    bound.stop()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"{path}: cannot accept: Too many open files; trying again every 0.001 s"),
        ("INFO", f"{path}: accepting again"),
    ]


@pytest.mark.parametrize("left", [1, 2, 5])
@on_a_loop
async def test_few_descriptors_are_enough_for_many_who_are_served_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    path = tmp_path / "mux"
    bound = listener.bind(str(path))
    bound.start(Greeter().serve, ())
    clients = [connected(path) for _ in range(listener.ACCEPTS_PER_WAKE + 1)]
    with descriptors_left(left):
        assert {await greeting(client) for client in clients} == {b"hello"}
    bound.stop()
    assert caplog.records == []


@on_a_loop
async def test_accepting_does_not_spin_while_descriptors_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = listener.bind(str(tmp_path / "mux"))
    failures: list[OSError] = []
    rest = listener.Listener._rest

    def counted(self: listener.Listener, error: OSError) -> None:
        rest(self, error)
        failures.append(error)

    monkeypatch.setattr(listener.Listener, "_rest", counted)
    monkeypatch.setattr(listener, "ACCEPT_PAUSE", 1000)
    bound.start(Greeter().serve, ())
    with connected(tmp_path / "mux"), descriptors_left(0):
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(failures) == 1
    bound.stop()


@on_a_loop
async def test_stop_while_accepting_rests_leaves_no_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ACCEPT_PAUSE", 0.001)
    bound = listener.bind(str(tmp_path / "mux"))
    bound.start(Greeter().serve, ())
    with connected(tmp_path / "mux"), descriptors_left(0):
        bound.stop()
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0.005, fired.set)  # after the timer that must not be there
    await fired.wait()


@on_a_loop
async def test_within_the_bound_are_all_who_are_served_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    greeter = Greeter()
    bound = listener.bind(str(path))
    bound.start(greeter.serve, greeter.open, max_connections=2)
    clients = [connected(path) for _ in range(listener.ACCEPTS_PER_WAKE + 1)]
    assert {await greeting(client) for client in clients} == {b"hello"}
    assert bound.refused == 0
    bound.stop()


@on_a_loop
async def test_past_the_bound_connections_are_closed_at_once_and_room_is_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mux"
    greeter = Greeter(keep=True)
    bound = listener.bind(str(path))
    bound.start(greeter.serve, greeter.open, max_connections=3)
    for _ in range(2):
        caplog.clear()
        answers = []
        for _ in range(6):
            with suppress(ConnectionResetError):
                answers.append(await greeting_at(path))
        assert answers == [b"hello"] * 3 + [b""] * 3
        assert [record.getMessage() for record in caplog.records] == [
            f"{path}: 3 connections are open; closing new ones"
        ]
        greeter.close()
    bound.stop()
