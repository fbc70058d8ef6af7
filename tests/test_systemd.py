from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pysaslauthd.errors import StartError
from pysaslauthd.systemd import Notifier, credentials_directory, listening_sockets, watchdog_interval
from rig.daemon import ENVIRONMENT


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(60)
        yield receiver


def test_each_message_is_one_datagram(manager: socket.socket) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname()})
    said: list[tuple[Callable[[], None], bytes]] = [
        (notifier.ready, b"READY=1"),
        (notifier.watchdog, b"WATCHDOG=1"),
        (notifier.stopping, b"STOPPING=1"),
    ]
    for say, datagram in said:
        say()
        assert manager.recv(4096) == datagram


def test_the_abstract_namespace_is_spelled_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0pysaslauthd-test-{os.getpid()}")
        receiver.settimeout(60)
        Notifier(f"@pysaslauthd-test-{os.getpid()}").ready()
        assert receiver.recv(4096) == b"READY=1"


def test_without_a_manager_nothing_is_sent_and_nothing_said(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.from_environ({}).ready()
    assert not caplog.records


def test_a_manager_that_is_gone_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "gone")).watchdog()
    assert caplog.messages == [f"cannot tell systemd WATCHDOG=1: {tmp_path}/gone: No such file or directory"]


def test_a_manager_that_hangs_holds_nothing_up(manager: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(manager.getsockname())
    for _ in range(10_000):
        notifier.watchdog()
        if caplog.records:
            break
    assert "Resource temporarily unavailable" in caplog.messages[0]


def test_another_kind_of_address_is_refused() -> None:
    with pytest.raises(StartError, match=r"^NOTIFY_SOCKET=vsock:2:1234: .*Type=exec$"):
        Notifier.from_environ({"NOTIFY_SOCKET": "vsock:2:1234"})


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, 42) == seconds


@pytest.mark.parametrize("value", ["", "-1", "30s", "30\n", "٣", "9" * 5000])
def test_a_watchdog_time_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(StartError, match=r"^WATCHDOG_USEC=.*: not a number$"):
        watchdog_interval({"WATCHDOG_USEC": value}, 42)


ADOPT = """
import os, sys
from pysaslauthd.errors import StartError
from pysaslauthd.systemd import listening_sockets
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"].replace("self", str(os.getpid()))
try:
    for name, sock in listening_sockets(os.environ, os.getpid()):
        print(name, sock.getsockname(), sock.getblocking(), sock.get_inheritable())
        sock.close()
except StartError as error:
    print(error)
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


def adopt(*inherited: socket.socket, pid: str = "self", **environ: str) -> list[str]:
    """What a process says that starts with these sockets as descriptors 3, 4, …"""

    def place() -> None:
        for index, fd in enumerate([os.dup(sock.fileno()) for sock in inherited]):
            os.dup2(fd, 3 + index)

    process = subprocess.run(
        [sys.executable, "-c", ADOPT],
        env={**ENVIRONMENT, "LISTEN_PID": pid, **environ},
        preexec_fn=place,
        close_fds=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=120,
    )
    return process.stdout.splitlines()


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for sock, name in ((one, "mux"), (two, "chroot")):
            sock.bind(str(tmp_path / name))
            sock.listen()
        yield one, two


def test_sockets_are_adopted_with_their_names(listeners: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    assert adopt(*listeners, LISTEN_FDS="2", LISTEN_FDNAMES="mux:other") == [
        f"mux {tmp_path}/mux False False",
        f"other {tmp_path}/chroot False False",
        "[]",
    ]


def test_a_socket_without_a_name_is_called_unknown(
    listeners: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    assert adopt(listeners[0], LISTEN_FDS="1") == [f"unknown {tmp_path}/mux False False", "[]"]


def test_sockets_for_another_process_are_left_alone(listeners: tuple[socket.socket, socket.socket]) -> None:
    assert adopt(*listeners, pid="1", LISTEN_FDS="2") == ["[]"]


def test_what_does_not_listen_is_refused(listeners: tuple[socket.socket, socket.socket]) -> None:
    with socket.socket(socket.AF_UNIX) as idle:
        assert adopt(listeners[0], idle, LISTEN_FDS="2") == [
            "descriptor 4 handed over by systemd does not listen; use ListenStream= and Accept=no",
            "[]",
        ]


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        said = adopt(file, LISTEN_FDS="1")  # type: ignore[arg-type]  # only its fileno() is asked for
    assert said == ["descriptor 3 handed over by systemd is no socket: Socket operation on non-socket", "[]"]


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"LISTEN_PID": "42", "LISTEN_FDS": "two"}, "LISTEN_FDS='two': not a number"),
        (
            {"LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "mux"},
            "LISTEN_FDS=2, but LISTEN_FDNAMES=mux names 1",
        ),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "65"}, "LISTEN_FDS=65: at most 64 sockets can be handed over"),
    ],
)
def test_variables_that_contradict_each_other_are_refused(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(StartError) as raised:
        listening_sockets(environ, 42)
    assert str(raised.value) == complaint
    assert not environ


def test_outside_a_service_there_are_no_sockets() -> None:
    assert listening_sockets({}, 42) == ()
    assert listening_sockets({"LISTEN_PID": "42", "LISTEN_FDS": "0"}, 42) == ()


def test_the_folder_of_credentials_is_absolute_or_nothing() -> None:
    assert credentials_directory({}) is None
    assert credentials_directory({"CREDENTIALS_DIRECTORY": ""}) is None
    assert credentials_directory({"CREDENTIALS_DIRECTORY": "/run/credentials/x"}) == Path("/run/credentials/x")
    with pytest.raises(StartError, match="not an absolute path"):
        credentials_directory({"CREDENTIALS_DIRECTORY": "credentials"})


def test_a_reload_is_told_with_its_time(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    state, _, microseconds = manager.recv(4096).partition(b"\nMONOTONIC_USEC=")
    assert state == b"RELOADING=1"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000
