"""The programs that make load, compiled when needed, and their results as values."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rig import programs

HERE = Path(__file__).parent
NEEDED = (
    "cc",
    "/usr/include/stdio.h",
    "/usr/include/ldap.h",
    "dovecot",
    "/usr/lib/dovecot/modules/auth/libauthdb_ldap.so",
    "slapd",
    "slapadd",
    "ldapsearch",
    "saslauthd",
    "openssl",
)
"""What a run needs of the rig's PACKAGES."""


def missing() -> list[str]:
    """The Debian packages that are lacking for a run."""
    return sorted(programs.missing(NEEDED))


class Load(NamedTuple):
    """What the clients of one round saw; the fields are load.c's."""

    answered: int
    in_time: int
    """Answers within the round's time: the rate is made of these."""
    seconds: float
    accepted: int
    refused: int
    mistaken: int
    """Answers that contradict the password that was sent."""
    broken: int
    """Connections that ended without an answer."""
    unanswered: int
    """Logins that still waited some time after the round."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Logins a second."""
        return self.in_time / self.seconds

    @property
    def faults(self) -> int:
        """Logins that got a wrong answer, or a closed connection."""
        return self.mistaken + self.broken


class Tools:
    """The compiled programs.

    :param people: how many people the directory holds; the clients go through them in turn.
    :param wrong: per cent of logins with a wrong password.
    """

    def __init__(self, folder: Path, people: int, wrong: int) -> None:
        self._load = folder / "load"
        self._limit = folder / "limit"
        self.people = people
        self._wrong = wrong

    def load(
        self,
        protocol: str,
        socket: Path,
        *,
        in_flight: int,
        seconds: float = 0,
        logins: int = 0,
        people: int = 0,
        shuffle: int | None = None,
        wrong: int | None = None,
        grace: float = 6,
    ) -> Load:
        """Log in for so many seconds, or so many times.

        :param protocol: ``mux`` or ``dovecot``.
        :param people: as many of the directory's; 0: all.
        :param shuffle: seed of a random order; None: in turn.
        :param wrong: per cent of wrong passwords, if not the usual share.
        :param grace: seconds to wait for the last answers.
        """
        amount = ["-n", logins] if logins else ["-s", seconds]
        order = [] if shuffle is None else ["-r", shuffle]
        share = self._wrong if wrong is None else wrong
        command = [
            self._load,
            protocol,
            "-f",
            socket,
            "-c",
            in_flight,
            "-u",
            people or self.people,
            "-w",
            share,
            "-g",
            grace,
        ]
        return Load(**_json([*command, *amount, *order]))

    def limit(
        self, operation: str, uri: str, dn: str, password: str, base: str, *, in_flight: int, seconds: float
    ) -> float:
        """Operations a second that libldap gets out of a directory; ``search`` or ``bind``."""
        server = ["-H", uri, "-D", dn, "-W", password, "-b", base]
        seen = _json([self._limit, operation, *server, "-c", in_flight, "-s", seconds, "-u", self.people])
        assert not seen["failed"], f"libldap: {seen['failed']} of {operation} failed"
        return float(seen["done"] / seen["seconds"])

    @contextmanager
    def holding(self, socket: Path, connections: int) -> Iterator[None]:
        """Keep connections open that send nothing, or half a request, and open anew what the server closes."""
        command = [str(self._load), "hold", "-f", str(socket), "-c", str(connections)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"held\n"
                yield
            finally:
                assert holder.stdin is not None
                holder.stdin.close()
                holder.wait(10)


@contextmanager
def compiled(people: int, wrong: int) -> Iterator[Tools]:
    """Compile the programs into a folder that lives as long as the context."""
    with tempfile.TemporaryDirectory(prefix="bench-") as path:
        folder = Path(path)
        for name, libraries in (("load", []), ("limit", ["-lldap", "-llber"])):
            command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(folder / name), str(HERE / f"{name}.c"), *libraries]
            subprocess.run(command, check=True)
        yield Tools(folder, people, wrong)


def _json(command: list[object]) -> dict[str, Any]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]} ended with status {done.returncode}: {done.stderr}"
    values: dict[str, Any] = json.loads(done.stdout)
    return values
