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

from rig import Daemon, find
from rig.daemon import ENVIRONMENT
from rig.programs import answers, folder, wait_until

CONF = "ldap_servers: ldap://127.0.0.1:1/\nldap_search_base: dc=hoge,dc=cxm\n"


def original(run_dir: Path) -> subprocess.CompletedProcess[bytes]:
    """The first process of a saslauthd that detaches; standard error is not read, for the daemon keeps it."""
    return subprocess.run([find("saslauthd"), "-a", "ldap", "-m", run_dir], check=False, timeout=30)


@contextmanager
def running_original(run_dir: Path) -> Iterator[int]:
    assert original(run_dir).returncode == 0
    pid = int((run_dir / "saslauthd.pid").read_text())
    process = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        assert select.select([process], [], [], 10)[0], "the original does not end"
        os.close(process)


def test_the_original_does_not_start_over_this_daemon_and_leaves_its_socket() -> None:
    with Daemon.running(CONF) as daemon:
        before = daemon.mux.stat().st_ino
        assert original(daemon.folder).returncode != 0
        assert daemon.mux.stat().st_ino == before
        assert answers(daemon.mux)
        assert int((daemon.folder / "saslauthd.pid").read_text()) == daemon.program.pid


def test_this_daemon_does_not_start_over_the_original() -> None:
    with folder("beside") as run_dir, running_original(run_dir) as pid:
        wait_until(lambda: answers(run_dir / "mux"), "the original's socket")
        (run_dir / "conf").write_text(CONF)
        ours = subprocess.run(
            [sys.executable, "-m", "pysaslauthd", "-O", run_dir / "conf", "-m", run_dir],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert ours.returncode == 1
        assert f"saslauthd.pid is held by a running daemon (pid {pid}); stop it" in ours.stderr
        assert answers(run_dir / "mux")
