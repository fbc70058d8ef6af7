"""The whole daemon as a process, with people in an LDIF file."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.dovecot import ask
from rig.mux import ask_mux, request
from rig.programs import folder
from rig.saslauthd import conf_text

RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD
CONF = people.file_article()


@contextmanager
def running(*flags: str, **keys: str) -> Iterator[Daemon]:
    with Daemon.running({**CONF, **keys}, *flags, files={"people.ldif": people.tree(2)}) as daemon:
        yield daemon


def settle(at: Path) -> None:
    """Write the configuration and the people into a folder."""
    files = {"people.ldif": people.tree(), "saslauthd.conf": conf_text(CONF).replace("{folder}", str(at))}
    for name, text in files.items():
        (at / name).touch(0o600)
        (at / name).write_text(text)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_daemon_serves_many_sockets_from_one_cache() -> None:
    places = ["--mux-socket", "{folder}/inside", "--dovecot-socket", "{folder}/auth"]
    more = ["--mux-socket", "{folder}/few:mode=0600", "--dovecot-socket", "{folder}/all:mode=666"]
    with running(*places, *more, "-c", "-V", ldap_default_realm="hoge.cxm") as daemon:
        at = daemon.folder
        modes = {name: mode(at / name) for name in ("mux", "inside", "few", "auth", "all")}
        assert modes == {"mux": 0o777, "inside": 0o777, "few": 0o600, "auth": 0o660, "all": 0o666}
        assert daemon.logged(
            f"serving mux {at}/mux, mux {at}/inside, mux {at}/few, dovecot {at}/auth, dovecot {at}/all\n"
        )
        assert daemon.ask(*RIGHT) == b"OK"
        assert "(cached)" not in daemon.log
        assert ask(at / "auth", *RIGHT) == f"OK\t1\tuser={people.PENGUIN}"
        assert ask(at / "all", "penguin", people.PENGUIN_PASSWORD) == f"OK\t1\tuser={people.PENGUIN}"
        for name in "inside", "few":
            assert ask_mux(at / name, request("penguin", people.PENGUIN_PASSWORD, "smtp", "")) == b"OK"
        assert daemon.program.stop() == 0
        assert daemon.log.count("auth success (cached)") == 4
        assert [path.name for path in at.iterdir() if path.is_socket()] == []


@pytest.mark.usefixtures("root")
def test_owner_and_group_are_set() -> None:
    with running("--dovecot-socket", "{folder}/auth:owner=4711,group=4712") as daemon:
        there = (daemon.folder / "auth").stat()
        assert (there.st_uid, there.st_gid, mode(daemon.folder / "auth")) == (4711, 4712, 0o660)


def test_the_log_tells_who_asked_for_whom() -> None:
    with running("--dovecot-socket", "{folder}/auth") as daemon:
        details = "lip=192.0.2.1", "rip=192.0.2.7", "secured", "session=Zx0"
        assert (ask(daemon.folder / "auth", people.PENGUIN, "wrong", *details) or "").startswith("FAIL\t1\t")
        process = f"[pid={os.getpid()}] [uid={os.getuid()}]"
        assert daemon.logged(
            f"auth failure: [user={people.PENGUIN}] [service=smtp] [realm=] [remote=192.0.2.7] [local=192.0.2.1]"
            " [secured=yes] [session=Zx0] [mech=ldap] [reason=wrong-password]"
        )
        assert daemon.logged(f"[door=dovecot] {process} [ms=")
        assert daemon.ask(people.PENGUIN, "wrong", "imap", "", "192.0.2.9;4567") == b"NO"
        assert daemon.logged("[service=imap] [realm=] [remote=192.0.2.9;4567] [mech=ldap] [reason=wrong-password]")
        assert daemon.logged(f"[door=mux] {process} [ms=")


@pytest.mark.parametrize(("minor", "flags"), [(0, []), (2, []), (0, ["fail"]), (2, ["close"])])
def test_no_directory_is_told_as_the_setting_says(minor: int, flags: list[str]) -> None:
    setting = ["--dovecot-unavailable", *flags] if flags else []
    nobody = "ldap://127.0.0.1:1/"
    with running("--dovecot-socket", "{folder}/auth", *setting, ldap_servers=nobody) as daemon:
        said = ask(daemon.folder / "auth", *RIGHT, minor=minor)
    if flags == ["close"] or (minor == 0 and not flags):
        assert said is None
    else:
        assert said is not None
        assert said.endswith("\ttemp\tcode=temp_fail")


def test_a_socket_that_cannot_be_had_is_one_line_and_no_other_is_left() -> None:
    with folder("daemon") as at:
        settle(at)
        command = [sys.executable, "-m", "pysaslauthd", "-f", "-O", f"{at}/saslauthd.conf", "-m", str(at)]
        command += ["--mux-socket", f"{at}/inside", "--dovecot-socket", f"{at}/missing/folder/auth"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **ENVIRONMENT}
        )
        assert done.returncode == 1
        assert done.stderr.endswith(f"{at}/missing/folder/auth: cannot make the socket: No such file or directory\n"), (
            done.stderr
        )
        assert done.stderr.count("\n") == 1
        assert not [path.name for path in at.iterdir() if path.is_socket()]


ADOPTING = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
for target, fd in enumerate(fds, 3):
    os.dup2(fd, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, "-m", "pysaslauthd", *sys.argv[3:]])
"""


@contextmanager
def handed_over(at: Path, names: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that inherits a listening socket for each name, as from systemd."""
    settle(at)
    with ExitStack() as stack:
        fds = []
        for number, _ in enumerate(names.split(":")):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(at / f"inherited{number}"))
            listening.listen()
            # High, so that none lies where another must come to lie.
            fds.append(100 + number)
            os.dup2(listening.fileno(), fds[-1])
            stack.callback(os.close, fds[-1])
        command = [sys.executable, "-c", ADOPTING, ",".join(map(str, fds)), names]
        process = stack.enter_context(
            subprocess.Popen(
                [*command, "-O", f"{at}/saslauthd.conf", "-m", str(at), *flags],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **ENVIRONMENT},
                pass_fds=fds,
            )
        )
        try:
            yield process
        finally:
            process.kill()


def serving(process: subprocess.Popen[str]) -> str:
    """What the daemon says that it serves."""
    assert process.stderr is not None
    for line in process.stderr:
        _, said, names = line.rstrip("\n").partition(": serving ")
        if said:
            return names
    raise AssertionError("it ended")


def test_systemds_sockets_are_served_by_their_names_and_left_in_place() -> None:
    with folder("daemon") as at, handed_over(at, "mux:dovecot:mux", f"--dovecot-socket={at}/own") as process:
        names = f"mux {at}/inherited0, dovecot {at}/inherited1, mux {at}/inherited2, dovecot {at}/own"
        assert serving(process) == names
        for number in 0, 2:
            assert ask_mux(at / f"inherited{number}", request(*RIGHT, "smtp", "")) == b"OK"
        for name in "inherited1", "own":
            assert ask(at / name, *RIGHT) == f"OK\t1\tuser={people.PENGUIN}"
        assert not (at / "mux").exists()
        process.terminate()
        assert process.wait(120) == 0
        left = {path.name for path in at.iterdir() if path.is_socket()}
        assert left == {"inherited0", "inherited1", "inherited2"}


def test_a_dovecot_socket_of_systemds_is_served_beside_the_daemons_own_mux() -> None:
    with folder("daemon") as at, handed_over(at, "dovecot") as process:
        assert serving(process) == f"dovecot {at}/inherited0, mux {at}/mux"


@pytest.mark.parametrize("names", ["unknown", "mux:imap"])
def test_a_socket_of_systemds_without_a_known_name_is_refused(names: str) -> None:
    with folder("daemon") as at, handed_over(at, names) as process:
        _, said = process.communicate(timeout=120)
        last = names.rpartition(":")[2]
        assert process.returncode == 1
        assert said.endswith(
            f": systemd hands over a socket named {last}; write FileDescriptorName=mux, or =dovecot, in its unit\n"
        )
        assert said.count("\n") == 1
