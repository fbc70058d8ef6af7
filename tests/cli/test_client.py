"""The commands that speak to a daemon: to a running one, to none, to something else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from pysaslauthd import __version__
from pysaslauthd.cli import client, control
from rig import Daemon, people
from rig.deaf import deaf
from rig.programs import folder

CONF = people.file_article(ldap_default_realm="hoge.cxm")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon.running(CONF, "-c", files={"people.ldif": people.tree(3)}) as running:
        yield running


class Said:
    """Runs a command and keeps what it said."""

    def __init__(self, daemon: Daemon, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        capsys.readouterr()
        self.status = control.main([words[0], "-m", str(daemon.folder), *words[1:]])
        self.out, self.err = capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["penguin@hoge.cxm"], "1 entry forgotten\n"),
        (["PENGUIN"], "1 entry forgotten\n"),
        (["penguin", "-r", "hoge.cxm"], "1 entry forgotten\n"),
        (["penguin", "-r", "iloli.bg"], "0 entries forgotten\n"),
        (["penguin", "u0", "nobody"], "2 entries forgotten\n"),
        ([os.fsdecode(b"p\xff")], "0 entries forgotten\n"),
        ([], "3 entries forgotten\n"),
    ],
)
def test_flush_forgets_those_it_is_told_of(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    for user in "penguin", "u0", "u1":
        assert daemon.ask(f"{user}@hoge.cxm", f"{user}-pass") == b"OK"
    result = Said(daemon, capsys, "flush", *words)
    assert (result.status, result.out) == (0, said)


def test_a_realm_without_a_user_is_a_wrong_command_line(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert Said(daemon, capsys, "flush", "-r", "hoge.cxm").status == 2


def test_the_log_level_changes_at_once(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    Said(daemon, capsys, "flush")
    assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
    assert "auth success" not in daemon.log
    assert Said(daemon, capsys, "log-level", "debug").out == "log level debug, before info\n"
    assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
    assert daemon.logged("auth success (cached)")
    assert Said(daemon, capsys, "log-level", "info").out == "log level info, before debug\n"
    assert Said(daemon, capsys, "log-level", "verbose").status == 2


def test_a_directory_that_has_not_answered_yet_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with deaf() as port:
        keys = {"ldap_servers": f"ldap://127.0.0.1:{port}", "ldap_connect_timeout": "30", "ldap_filter": "(uid=%u)"}
        with Daemon.running(keys) as daemon:
            assert control.main(["ping", "--directory", "-m", str(daemon.folder)]) == 1
            assert f"ldap://127.0.0.1:{port}: not tried yet" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["ping"], ["ping", "--directory"]])
def test_ping_is_answered(daemon: Daemon, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    result = Said(daemon, capsys, *words)
    assert (result.status, result.out) == (0, f"pysaslauthd {__version__} answers\n")


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("shutdown", {}, "commands are status, ping, flush, reload, log-level"),
        ("status", {"users": []}, "status has no member users"),
        ("status", {"a\n[31m": 1}, "status has no member a\\n[31m"),
        ("flush", {"users": []}, "users is a list of logins; without it, everybody is meant"),
        ("flush", {"users": ["a", 1]}, "users is a list of logins; without it, everybody is meant"),
        ("flush", {"users": "penguin"}, "users is a list of logins; without it, everybody is meant"),
        ("flush", {"users": ["a"], "realm": 1}, "realm is a string"),
        ("flush", {"users": ["\ud800"]}, "a string that is not text"),
        ("ping", {"directory": 1}, "directory is true or false"),
        ("log-level", {}, "level is one of debug, info, warning, error"),
        ("log-level", {"level": ["debug"]}, "level is one of debug, info, warning, error"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_done(
    daemon: Daemon, command: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(click.ClickException) as caught:
        client.ask(daemon.folder, command, **arguments)
    assert caught.value.message == message


@pytest.mark.parametrize("command", ["status", "flush", "reload", "ping"])
def test_without_a_daemon_each_says_so_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert control.main([command, "-m", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"pysaslauthctl: {tmp_path}/control: No such file or directory;"
        " is pysaslauthd running, and is -m the same as its own?\n"
    )


@contextmanager
def answering(reply: bytes | None) -> Iterator[Path]:
    """Something that listens where the daemon would, and answers the first who asks; None: only listens."""
    with folder("client") as at, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(at / "control"))
        listening.listen()

        def answer() -> None:
            accepted, _ = listening.accept()
            with accepted:
                accepted.recv(4096)
                accepted.sendall(reply or b"")

        thread = threading.Thread(target=answer)
        if reply is not None:
            thread.start()
        yield at
        if reply is not None:
            thread.join()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "it closed the connection; its log may say why"),
        (b"{", "it closed the connection; its log may say why"),
        (b"+OK\n", "not a JSON object in UTF-8 on one line"),
        (b"[]\n", "not a JSON object"),
        (b"x" * (1 << 20) + b"xx", f"more than {1 << 20} bytes"),
    ],
)
def test_what_is_no_reply_is_told(reply: bytes, why: str) -> None:
    with answering(reply) as at, pytest.raises(click.ClickException) as caught:
        client.ask(at, "status")
    assert caught.value.message == f"{at}/control: no reply of pysaslauthd's: {why}"


def test_a_daemon_that_is_stuck_is_told() -> None:
    with answering(None) as at, pytest.raises(click.ClickException) as caught:
        client.ask(at, "status", seconds=0.05)
    assert caught.value.message == f"{at}/control: no reply within 0.05 s; is the daemon stuck?"


def test_a_socket_that_nobody_listens_on_is_told() -> None:
    with folder("client") as at:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(at / "control"))
        with pytest.raises(click.ClickException) as caught:
            client.ask(at, "status")
    assert caught.value.message == f"{at}/control: Connection refused; pysaslauthd is not running"
