"""Clients of the Dovecot socket: the real ``doveadm auth test``, and a plain one for what it cannot say."""

from __future__ import annotations

import base64
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from rig.programs import find

_CONF = "protocols = none\nssl = no\nbase_dir = /nonexistent\nlog_path = /dev/stderr\n"


class Tested(NamedTuple):
    """What ``doveadm auth test`` said: exit status (0 right, 77 wrong, 75 temporary failure) and output."""

    status: int
    output: str


def doveadm(path: Path, user: str, password: str, *info: str) -> Tested:
    """Run ``doveadm auth test`` against a socket.

    :param info: further parameters of the request, such as ``rip=192.0.2.7``.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write(_CONF)
        conf.flush()
        command = [find("doveadm"), "-c", conf.name, "auth", "test", "-a", str(path)]
        for each in ("service=smtp", *info):
            command += ["-x", each]
        done = subprocess.run(
            [*command, user, password],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
    return Tested(done.returncode, done.stdout)


def ask(path: Path, login: str, password: str, *info: str, minor: int = 0, seconds: float = 60.0) -> str | None:
    """Log in with PLAIN over a plain socket: the reply without its newline, or None when it was closed without one."""
    response = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
    words = ["AUTH", "1", "PLAIN", "service=smtp", *info, f"resp={response}"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(path))
        client.sendall(f"VERSION\t1\t{minor}\nCPID\t1\n{chr(9).join(words)}\n".encode())
        received = b""
        while b"\nDONE\n" not in received or not received.endswith(b"\n") or received.endswith(b"\nDONE\n"):
            piece = client.recv(4096)
            if not piece:
                return None
            received += piece
    return received.decode().splitlines()[-1]
