"""Reload, with the whole daemon as a process and people in an LDIF file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from pysaslauthd.cli import control
from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.dovecot import ask
from rig.mux import ask_mux, request
from rig.programs import folder, wait_until
from rig.saslauthd import conf_text

CONF = people.file_article()
RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD


@contextlib.contextmanager
def running(*flags: str, **keys: str) -> Iterator[Daemon]:
    with Daemon.running({**CONF, **keys}, *flags, files={"people.ldif": people.tree(2)}) as daemon:
        yield daemon


def rewrite(daemon: Daemon, **keys: str) -> None:
    daemon.conf.write_text(conf_text({**CONF, **keys}).replace("{folder}", str(daemon.folder)))


def reloaded(daemon: Daemon) -> int:
    """Reload by command; its exit status."""
    return control.main(["reload", "-m", str(daemon.folder)])


def test_sighup_reads_the_configuration_anew() -> None:
    with running() as daemon:
        rewrite(daemon, ldap_filter="(&(objectclass=mailRecipient)(uid=%u))")
        assert daemon.ask(*RIGHT) == b"OK"
        daemon.program.signal(signal.SIGHUP)
        assert daemon.logged(f"reloaded {daemon.conf}\n")
        assert daemon.ask(*RIGHT) == b"NO"
        assert daemon.ask("penguin", people.PENGUIN_PASSWORD) == b"OK"


def test_the_command_does_the_same_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as daemon:
        rewrite(daemon, ldap_filter="(uid=%u)", ldap_bind_dn="cn=nobody")
        assert reloaded(daemon) == 0
        out = capsys.readouterr().out
        assert out.endswith(f"reloaded {daemon.conf}\n")
        assert "warning: " in out
        assert "ldap_bind_dn: no effect" in out
        assert "ldap_bind_dn: no effect" in daemon.log
        assert daemon.ask("penguin", people.PENGUIN_PASSWORD) == b"OK"


def test_the_ldif_file_is_read_anew_at_once() -> None:
    with running("-c") as daemon:
        assert daemon.ask(*RIGHT) == b"OK"
        file = daemon.folder / "people.ldif"
        file.write_text(
            people.tree(2).replace("uid: penguin", "uid: emperor").replace(people.PENGUIN, "emperor@hoge.cxm")
        )
        assert reloaded(daemon) == 0
        assert daemon.ask(*RIGHT) == b"NO"
        assert daemon.ask("emperor@hoge.cxm", people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.logged("; the cache is empty\n")


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"ldap_filter": "(mail=%u"}, "saslauthd.conf:3: ldap_filter: a parenthesis is not closed"),
        ({"ldap_servers": "ldif://{folder}/missing.ldif"}, "missing.ldif: No such file or directory"),
        ({"ldap_servers": "ldif://{folder}/saslauthd.conf"}, "saslauthd.conf:1:"),
    ],
)
def test_what_cannot_be_used_leaves_the_running_configuration(
    keys: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running() as daemon:
        rewrite(daemon, **keys)
        assert reloaded(daemon) == 1
        said = capsys.readouterr().err
        assert why in said
        assert said.endswith("; the running configuration stays\n")
        assert daemon.logged("not reloaded, the running configuration stays: ")
        assert why in daemon.log
        assert daemon.ask(*RIGHT) == b"OK"
        daemon.program.signal(signal.SIGHUP)
        wait_until(lambda: daemon.log.count("not reloaded") == 2, "the second failure in the log")
        assert control.main(["status", "-m", str(daemon.folder)]) == 0
        assert "the last reload failed: " in capsys.readouterr().out
        rewrite(daemon)
        assert reloaded(daemon) == 0
        assert control.main(["status", "-m", str(daemon.folder)]) == 0
        assert "failed" not in capsys.readouterr().out


def test_what_is_looked_at_at_the_start_alone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as daemon:
        for _ in range(2):  # it is still not so at the second reload
            rewrite(daemon, max_connections="7", request_timeout="3")
            assert reloaded(daemon) == 0
            assert capsys.readouterr().out.splitlines()[:-1] == [
                "warning: max_connections: the change takes effect with a restart",
                "warning: request_timeout: the change takes effect with a restart",
            ]
        rewrite(daemon)
        assert reloaded(daemon) == 0
        assert capsys.readouterr().out == f"reloaded {daemon.conf}\n"


def test_another_default_realm_holds_on_dovecots_open_connections_too() -> None:
    with running("--dovecot-socket", "{folder}/auth") as daemon, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(daemon.folder / "auth"))
        client.sendall(b"VERSION\t1\t2\nCPID\t1\n")
        greeting = b""
        while not greeting.endswith(b"DONE\n"):
            greeting += client.recv(4096)
        rewrite(daemon, ldap_default_realm="hoge.cxm")
        assert reloaded(daemon) == 0
        client.sendall(b"AUTH\t1\tPLAIN\tservice=smtp\tresp=AHBlbmd1aW4AcGVuZ3Vpbi1wYXNz\n")
        assert client.recv(4096) == b"OK\t1\tuser=penguin@hoge.cxm\n"
        assert ask(daemon.folder / "auth", "penguin", people.PENGUIN_PASSWORD) == "OK\t1\tuser=penguin@hoge.cxm"


def test_many_signals_harm_nobody() -> None:
    with running() as daemon:
        for _ in range(200):
            daemon.program.signal(signal.SIGHUP)
        assert daemon.logged("reloaded ")
        assert daemon.ask(*RIGHT) == b"OK"
        assert daemon.program.stop() == 0


@contextlib.contextmanager
def started(at: Path, *flags: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that has not been waited for."""
    (at / "people.ldif").touch(0o600)
    (at / "people.ldif").write_text(people.tree(2))
    process = subprocess.Popen(
        [sys.executable, "-m", "pysaslauthd", "-f", "-m", str(at), *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT, **environ},
    )
    limit = threading.Timer(100, process.kill)  # its log ends then, and so whoever reads it
    limit.start()
    with process:
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def text(at: Path) -> str:
    return conf_text(CONF).replace("{folder}", str(at))


def being_read(fifo: Path) -> TextIO:
    """Its other end, once the daemon has begun to read; a daemon that has ended never does."""
    ends = []

    def opened() -> bool:
        with contextlib.suppress(OSError):  # nobody reads yet
            ends.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(ends)

    wait_until(opened, "a reader of the configuration")
    return os.fdopen(ends[0], "w")


def test_sighup_during_the_start_kills_nobody_and_is_not_forgotten() -> None:
    with folder("reload") as at:
        fifo = at / "saslauthd.conf"
        os.mkfifo(fifo, 0o600)
        with started(at, "-O", str(fifo)) as process:
            with being_read(fifo) as config:
                process.send_signal(signal.SIGHUP)
                config.write(text(at))
            assert process.stderr is not None
            assert any(": serving " in line for line in process.stderr)
            with being_read(fifo) as config:
                config.write(text(at))
            assert any(": reloaded " in line for line in process.stderr)
            assert ask_mux(at / "mux", request(*RIGHT, "smtp", "")) == b"OK"
            process.terminate()
            assert process.wait(120) == 0


def test_systemd_is_told_the_beginning_and_the_end_of_a_reload() -> None:
    with folder("reload") as at, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(at / "notify"))
        manager.settimeout(60)
        conf = at / "saslauthd.conf"
        conf.touch(0o600)
        conf.write_text(text(at))
        with started(at, "-O", str(conf), NOTIFY_SOCKET=str(at / "notify")) as process:
            assert manager.recv(4096) == b"READY=1"
            for configuration in (text(at), "nonsense\n"):
                conf.write_text(configuration)
                process.send_signal(signal.SIGHUP)
                state, _, microseconds = manager.recv(4096).decode().partition("\nMONOTONIC_USEC=")
                assert (state, microseconds.isdigit()) == ("RELOADING=1", True)
                assert manager.recv(4096) == b"READY=1"
            process.terminate()
            assert manager.recv(4096) == b"STOPPING=1"
            process.send_signal(signal.SIGHUP)
            assert process.wait(120) == 0


def test_the_copy_that_systemd_made_at_the_start_is_named_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with folder("reload") as at, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(at / "notify"))
        manager.settimeout(60)
        (at / "credentials").mkdir()
        copy = at / "credentials" / "saslauthd.conf"
        copy.touch(0o600)
        copy.write_text(text(at))
        environ = {"NOTIFY_SOCKET": str(at / "notify"), "CREDENTIALS_DIRECTORY": str(at / "credentials")}
        with started(at, **environ) as process:
            assert manager.recv(4096) == b"READY=1"
            assert control.main(["reload", "-m", str(at)]) == 0
            assert capsys.readouterr().out == (
                f"warning: {copy} is the copy that systemd made at the start (LoadCredential=): a change of the file"
                f" that it was made of takes effect with a restart\nreloaded {copy}\n"
            )
            process.terminate()
            assert process.wait(120) == 0


def test_signals_during_a_reload_are_one_more_reload() -> None:
    with folder("reload") as at:
        fifo = at / "saslauthd.conf"
        os.mkfifo(fifo, 0o600)
        with started(at, "-O", str(fifo)) as process:
            with being_read(fifo) as config:
                config.write(text(at))
            assert process.stderr is not None
            assert any(": serving " in line for line in process.stderr)
            process.send_signal(signal.SIGHUP)
            with being_read(fifo) as config:
                for _ in range(3):
                    for _ in range(50):
                        process.send_signal(signal.SIGHUP)
                    assert control.main(["ping", "-m", str(at)]) == 0  # it has been taken by now
                config.write(text(at))
            assert any(": reloaded " in line for line in process.stderr)
            with being_read(fifo) as config:
                config.write(text(at))
            assert any(": reloaded " in line for line in process.stderr)
            process.terminate()
            rest = process.stderr.read()
            assert process.wait(120) == 0
            assert "reloaded" not in rest


def test_systemds_watchdog_is_fed() -> None:
    with folder("watchdog") as at, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(at / "notify"))
        manager.settimeout(60)
        conf = at / "saslauthd.conf"
        conf.touch(0o600)
        conf.write_text(text(at))
        with started(at, "-O", str(conf), NOTIFY_SOCKET=str(at / "notify"), WATCHDOG_USEC="100000") as process:
            said = [manager.recv(4096) for _ in range(4)]
            assert sorted(said) == [b"READY=1", *[b"WATCHDOG=1"] * 3]
            process.terminate()
            assert process.wait(120) == 0
