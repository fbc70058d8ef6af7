"""One run directory, one daemon: this one or the original, never both."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig import Daemon, find
from rig.daemon import ENVIRONMENT
from rig.programs import answers, folder, wait_until

CONF = "ldap_servers: ldif://{folder}/people.ldif\nldap_auth_method: custom\nldap_search_base: dc=hoge,dc=cxm\n"
PEOPLE = {"people.ldif": "dn: dc=hoge,dc=cxm\nobjectClass: domain\ndc: hoge\n"}


def original(run_dir: Path, *flags: str) -> subprocess.CompletedProcess[bytes]:
    """The first process of a saslauthd, to its end. One worker is its own master: nothing is left of a killed one."""
    command = [find("saslauthd"), "-a", "ldap", "-n", "1", "-m", str(run_dir), *flags]
    return subprocess.run(command, check=False, timeout=120)


@contextmanager
def running_original(run_dir: Path) -> Iterator[int]:
    assert original(run_dir).returncode == 0
    pid = int((run_dir / "saslauthd.pid").read_text())
    process = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        assert select.select([process], [], [], 60)[0], "the original does not end"
        os.close(process)


@pytest.mark.parametrize("flags", [(), ("-d",)])
def test_the_original_does_not_start_over_this_daemon(flags: tuple[str, ...]) -> None:
    with Daemon.running(CONF, files=PEOPLE) as daemon:
        assert original(daemon.folder, *flags).returncode != 0
        assert answers(daemon.mux)
        assert int((daemon.folder / "saslauthd.pid").read_text()) == daemon.program.pid


def test_this_daemon_does_not_start_over_the_original() -> None:
    with folder("beside") as run_dir, running_original(run_dir) as pid:
        wait_until(lambda: answers(run_dir / "mux"), "the original's socket")
        (run_dir / "conf").write_text(CONF.replace("{folder}", str(run_dir)))
        (run_dir / "people.ldif").write_text(PEOPLE["people.ldif"])
        ours = subprocess.run(
            [sys.executable, "-m", "pysaslauthd", "-O", run_dir / "conf", "-m", run_dir],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ours.returncode == 1
        assert f"saslauthd.pid is held by a running daemon (pid {pid}); stop it" in ours.stderr
        assert answers(run_dir / "mux")
