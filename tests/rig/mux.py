"""Clients of the mux socket: the real testsaslauthd, and a plain one for what it cannot say."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from rig.programs import Program, find, wait_until


class Probe(NamedTuple):
    """What testsaslauthd said: exit status (0 accepted, 255 otherwise) and output."""

    status: int
    output: str

    @property
    def accepted(self) -> bool:
        """Whether it was OK; AssertionError unless status and output agree on a clear answer."""
        answers = {line.partition(": ")[2].partition(" ")[0] for line in self.output.splitlines()}
        assert answers == ({"OK"} if self.status == 0 else {"NO"}), f"no clear answer: {self}"
        return self.status == 0


def probe(
    mux: Path, user: str, password: str, *, service: str = "smtp", realm: str | None = None, repeat: int = 1
) -> Probe:
    """Run the real testsaslauthd against a mux socket."""
    command = [find("testsaslauthd"), "-f", str(mux), "-u", user, "-p", password, "-s", service, "-R", str(repeat)]
    if realm is not None:
        command += ["-r", realm]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    return Probe(done.returncode % 256, done.stdout + done.stderr)


def request(login: str | bytes, password: str | bytes, *more: str | bytes) -> bytes:
    """A mux request: login, password, then service, realm and client address as far as given."""
    fields = [field.encode() if isinstance(field, str) else field for field in (login, password, *more)]
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def ask_mux(mux: Path, sent: bytes, *, seconds: float = 60.0) -> bytes | None:
    """Send any bytes to a mux socket, read to the end: the text of one whole answer, or None for none."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(mux))
        client.sendall(sent)
        received = b""
        while piece := client.recv(4096):
            received += piece
    if not received:
        return None
    assert len(received) == 2 + int.from_bytes(received[:2], "big"), f"not one counted string: {received!r}"
    return received[2:]


class MuxServer:
    """A running program with a mux socket."""

    program: Program
    mux: Path

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self.program.log

    def logged(self, text: str) -> bool:
        """Whether it prints the text within a moment: a login is logged after its answer."""
        wait_until(lambda: text in self.log, f"{text!r} in the log:\n{self.log[-2000:]}")
        return True

    def probe(
        self, user: str, password: str, *, service: str = "smtp", realm: str | None = None, repeat: int = 1
    ) -> Probe:
        """Ask with the real testsaslauthd."""
        return probe(self.mux, user, password, service=service, realm=realm, repeat=repeat)

    def ask(
        self,
        login: str | bytes,
        password: str | bytes,
        service: str | bytes = "smtp",
        realm: str | bytes = "",
        *more: str | bytes,
        seconds: float = 60.0,
    ) -> bytes | None:
        """Ask over a plain socket in one write: the answer's text, or None when it was closed without one."""
        return self.ask_raw(request(login, password, service, realm, *more), seconds=seconds)

    def ask_raw(self, sent: bytes, *, seconds: float = 60.0) -> bytes | None:
        """Send any bytes, read to the end: the text of one whole answer, or None for none."""
        return ask_mux(self.mux, sent, seconds=seconds)
