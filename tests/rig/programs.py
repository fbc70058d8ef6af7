"""Processes of the rig: found, started, waited for, ended. Plus the folders and ports they live on."""

from __future__ import annotations

import contextlib
import functools
import glob
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

# Exim's package and Postfix's exclude each other, so Exim's is unpacked beside the system (scripts/test). Debian keeps
# servers out of an ordinary user's PATH.
_ASIDE = Path(__file__).parents[2] / ".programs/usr/sbin"
_SEARCH = os.pathsep.join([str(_ASIDE), os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

PACKAGES = {
    "slapd": "slapd",
    "slapadd": "slapd",
    "slapmodify": "slapd",
    "slaptest": "slapd",
    "ldapmodify": "ldap-utils",
    "ldapsearch": "ldap-utils",
    "ldapwhoami": "ldap-utils",
    "ns-slapd": "389-ds-base",
    "saslauthd": "sasl2-bin",
    "testsaslauthd": "sasl2-bin",
    "certutil": "libnss3-tools",
    "pk12util": "libnss3-tools",
    "openssl": "openssl",
    "ip": "iproute2",
    "postfix": "postfix",
    "swaks": "swaks",
    "doveadm": "dovecot-core",
    "exim4": "exim4-daemon-heavy",
    "svn": "subversion",
    "svnadmin": "subversion",
    "svnserve": "subversion",
    "cyrmaster": "cyrus-imapd",
    "systemd-analyze": "systemd",
    # libsasl2 finds its mechanisms, and Dovecot its passdbs, as files; the benchmark compiles its load generator.
    "/usr/lib/*/sasl2/libplain.so": "libsasl2-modules",
    "cc": "gcc",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/include/ldap.h": "libldap-dev",
    "dovecot": "dovecot-core",
    "/usr/lib/dovecot/modules/auth/libauthdb_ldap.so": "dovecot-ldap",
    "fail2ban-client": "fail2ban",
    "fail2ban-regex": "fail2ban",
    "fail2ban-server": "fail2ban",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}
"""Program, or pattern of a file's path, to the Debian package that brings it."""


class MissingProgram(Exception):
    """A program of ``PACKAGES`` is not installed here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not installed (Debian package {PACKAGES[name]})")


class StartFailed(Exception):
    """A program ended, or did not answer in time; the text holds the end of its log."""


def find(name: str) -> str:
    """Path of a program or file of ``PACKAGES``; raises :class:`MissingProgram`."""
    path = next(iter(glob.glob(name)), None) if name.startswith("/") else shutil.which(name, path=_SEARCH)
    if path is None:
        raise MissingProgram(name)
    return path


def missing(names: Iterable[str] = PACKAGES) -> dict[str, list[str]]:
    """The packages that are lacking, each with what it would bring of ``names``, which are of ``PACKAGES``."""
    lacking: dict[str, list[str]] = {}
    for name in names:
        try:
            find(name)
        except MissingProgram:
            lacking.setdefault(PACKAGES[name], []).append(name)
    return lacking


def run(command: Sequence[object], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a helper program to its end, within two minutes; its output, or an AssertionError that holds it."""
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with status {done.returncode}:\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def folder(name: str) -> Iterator[Path]:
    """A temporary folder with a short path (a UNIX socket's path holds 107 bytes), open to a server's own user."""
    with tempfile.TemporaryDirectory(prefix=f"rig-{name}-", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)


@functools.cache
def _ports() -> Iterator[int]:
    """Ports that this process alone gives out, in turn: between a look at a port and its use there is time for another.

    They are outside the range that the kernel gives to clients.
    """
    for first in range(20000, 32000, 500):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0rig-ports-{first}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # the claim ends with the process
        return itertools.cycle(range(first, first + 500))
    raise StartFailed("the ports between 20000 and 32000 are all given to other processes")


def free_port() -> int:
    """A loopback TCP port that nobody uses, and nobody else of the rig will."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many different ones."""
    ports = []
    for port in itertools.islice(_ports(), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise StartFailed("no free port is left")


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return as soon as ``true()`` holds; AssertionError after ``seconds``: a busy machine is no fault."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)


def answers(address: tuple[str, int] | Path) -> bool:
    """Whether a TCP port or a UNIX socket accepts a connection."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(30)
        try:
            client.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            return False
        return True


class Program:
    """One process: started, waited for by ``ready``, ended with SIGTERM, then SIGKILL, and reaped.

    :param log: file that gets its standard output and error.
    :param ready: whether it serves; asked until it does.
    :param seconds: how long it may take to serve, and how long to end after SIGTERM.
    """

    def __init__(
        self,
        command: Sequence[object],
        *,
        log: Path,
        ready: Callable[[], bool],
        seconds: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(word) for word in command]
        self._log = log
        self._ready = ready
        self._seconds = seconds
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0

    def within(self, *command: object) -> Self:
        """The same program, started by another one that ends by becoming it."""
        self._command[:0] = [str(word) for word in command]
        return self

    @property
    def pid(self) -> int:
        """Process id of the running program."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed so far; while it runs, whole lines alone.

        A line across the border of two pages of the file can be read when the first has been written (seen on ext4).
        """
        running = self._process is not None and self._process.poll() is None
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[: text.rfind("\n") + 1] if running else text

    @property
    def said(self) -> str:
        """What it has printed since its last start."""
        return self.log[self._began :]

    @property
    def status(self) -> int | None:
        """Exit status as subprocess gives it (minus the signal's number), None while it runs."""
        assert self._process is not None, "not started"
        return self._process.poll()

    def start(self) -> None:
        """Start, and return once it serves; raises :class:`StartFailed`."""
        self._began = len(self.log)
        with self._log.open("ab") as out:
            # A session of its own: Ctrl-C reaches the tests alone, which then end it in order.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self.status is not None or self._ready(), "a server's first answer", self._seconds)
        except BaseException as error:
            self.kill()
            raise StartFailed(f"{self._command[0]}: {error}\n{self.log[-3000:]}") from error
        if self.status is not None:
            raise StartFailed(f"{' '.join(self._command)} ended with status {self.status}\n{self.log[-3000:]}")

    def stop(self) -> int:
        """SIGTERM and wait, SIGKILL where that is not enough; the exit status. May be called again."""
        if self.status is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert self._process is not None
                self._process.wait(self._seconds)
        return self.kill()

    def kill(self) -> int:
        """SIGKILL for it and for what it forked, and wait; the exit status."""
        assert self._process is not None, "not started"
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal; SIGSTOP and SIGCONT make and unmake a server that hangs."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)
