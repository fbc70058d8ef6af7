"""Who may use the daemon's control socket, and what if there can be none."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pysaslauthd.cli import client, control
from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.programs import folder

CONF = people.file_article()
FILES = {"people.ldif": people.tree(2)}
RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD


def ping_as(user: str, daemon: Daemon) -> str:
    """What another user is told, in a process of its own: empty where the daemon answers."""
    account = pwd.getpwnam(user)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # the interpreter may lie where only root can start it
        told = "the test is broken"
        try:
            os.setgroups([])
            os.setresgid(*(account.pw_gid,) * 3)
            os.setresuid(*(account.pw_uid,) * 3)
            client.ask(daemon.folder, "ping")
            told = ""
        except click.ClickException as error:
            told = error.message
        finally:
            os.write(writer, told.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as told_by_child:
        return told_by_child.read().decode()


@pytest.mark.usefixtures("root")
def test_after_root_is_given_up_root_and_the_daemons_user_may_ask_and_nobody_else() -> None:
    with Daemon.running({**CONF, "user": "nobody"}, files=FILES) as daemon:
        there = (daemon.folder / "control").stat()
        assert (there.st_uid, stat.S_IMODE(there.st_mode)) == (pwd.getpwnam("nobody").pw_uid, 0o600)
        assert control.main(["ping", "-m", str(daemon.folder)]) == 0
        assert ping_as("nobody", daemon) == ""
        refusal = "only root and the daemon's user may ask; try sudo"
        assert ping_as("daemon", daemon) == f"{daemon.folder}/control: Permission denied; {refusal}"
        # The mode keeps others out, and so does who they are.
        (daemon.folder / "control").chmod(0o666)
        assert ping_as("daemon", daemon) == refusal
        assert f"(uid {pwd.getpwnam('daemon').pw_uid}): refused" in daemon.log


@pytest.mark.usefixtures("root")
def test_a_reload_needs_what_the_daemons_user_may_read(capsys: pytest.CaptureFixture[str]) -> None:
    with Daemon.running({**CONF, "user": "nobody"}, files=FILES) as daemon:
        assert control.main(["reload", "-m", str(daemon.folder)]) == 0
        daemon.conf.chmod(0o600)
        assert control.main(["reload", "-m", str(daemon.folder)]) == 1
        assert capsys.readouterr().err == (
            f"pysaslauthctl: {daemon.conf}: cannot be read: Permission denied; let the daemon's user read it;"
            " the running configuration stays\n"
        )
        assert daemon.ask(*RIGHT) == b"OK"


def test_where_its_path_is_too_long_the_daemon_serves_without() -> None:
    with folder("control") as at:
        run_dir = at / ("x" * (107 - len(str(at)) - len("/") - len("/mux")))
        run_dir.mkdir()
        flags = ["-m", str(run_dir), "--mux-socket", "{folder}/mux"]
        with Daemon.running(CONF, *flags, files=FILES) as daemon:
            assert daemon.ask(*RIGHT) == b"OK"
            assert f"pysaslauthctl cannot speak to this daemon: {run_dir}/control: the path of a socket" in daemon.log
            assert daemon.program.stop() == 0


def test_its_path_can_be_no_other_socket(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pysaslauthd", "-m", tmp_path, "--mux-socket", f"{tmp_path}/control"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.returncode == 2
    assert done.stderr == f"pysaslauthd: {tmp_path}/control: one path cannot be two sockets\n"
