"""A real svnserve with one repository."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rig.programs import Program, answers, find, folder, free_port, run


class Svnserve:
    """A running svnserve on a loopback port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @classmethod
    @contextmanager
    def running(cls, svnserve_conf: str, svn_conf: str) -> Iterator[Self]:
        """Start it with ``conf/svnserve.conf`` of the repository, and Cyrus SASL's ``svn.conf``."""
        with folder("svnserve") as path:
            port = free_port()
            run([find("svnadmin"), "create", path / "repository"])
            (path / "repository/conf/svnserve.conf").write_text(svnserve_conf)
            (path / "sasl").mkdir()
            (path / "sasl/svn.conf").write_text(svn_conf)
            command = [find("svnserve"), "--daemon", "--foreground", "--root", path, "--listen-host", "127.0.0.1"]
            program = Program(
                [*command, "--listen-port", port],
                log=path / "log",
                ready=lambda: answers(("127.0.0.1", port)),
                env={"SASL_CONF_PATH": str(path / "sasl")},
            )
            program.start()
            try:
                yield cls(path, port)
            finally:
                program.stop()

    def login(self, user: str, password: str) -> str:
        """``ok``, or what Cyrus SASL calls the failure: ``authentication failure`` or ``generic failure``."""
        command = [find("svn"), "--non-interactive", "--no-auth-cache", "--config-dir", str(self.folder / "client")]
        done = subprocess.run(
            [*command, "--username", user, "--password", password, "ls", f"svn://127.0.0.1:{self.port}/repository"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return "ok"
        said = re.search(r"SASL\(-\d+\): ([\w ]+)", done.stderr)
        assert said, done.stderr
        return said[1]
