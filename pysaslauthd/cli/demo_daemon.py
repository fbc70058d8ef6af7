"""The demo's daemon: a process of its own, asked through its socket, read through its log.

Signals interrupt at one place alone, while a line of the log is waited for, so that none can come between the
daemon's start and the care for its end.
"""

from __future__ import annotations

import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import click

from pysaslauthd.model import AuthRequest
from pysaslauthd.wire import mux

START_SECONDS = 20.0
"""Longest time for the daemon to serve: its modules are compiled at their first import, on a slow disk perhaps."""
ANSWER_SECONDS = 6.0
"""Longest time for an answer and its line in the log; the daemon's own deadline is 4 s."""
STOP_SECONDS = 7.0
"""Longest time for the daemon to end; it gives itself 5 s."""

_LAST_LINES = 20
"""Lines of the log that a failure repeats."""
_LOGIN = re.compile(r"do_auth *: auth \w+( \(cached\))?: .*")
_REASON = re.compile(r"\[reason=([a-z-]+)\]")


class Answer(NamedTuple):
    """What a login got: the reply's text (None: closed without one), how long it took, what the log says.

    ``reason`` is ``cached``, the log's reason, or empty for an accepted login that the directory was asked about.
    """

    reply: str | None
    milliseconds: float
    reason: str


class Signals:
    """Whether somebody has asked for the end (SIGINT, SIGTERM, SIGHUP): readable from then on; a context manager."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, lambda _number, _frame: None) for number in ends}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reader.fileno()


class Daemon:
    """``pysaslauthd -f -V`` with a configuration, in a run directory; a context manager.

    :param flags: further flags.
    :raises KeyboardInterrupt: a signal asked for the end.
    :raises click.ClickException: it does not start, or not do what it is waited for; the text ends with its log.
    """

    def __init__(self, signals: Signals, run_dir: Path, config: Path, *flags: str) -> None:
        self._signals = signals
        self.mux = run_dir / "mux"
        # -P: the installed package, not what a folder of that name in the working directory holds.
        own = ["-f", "-V", "-O", str(config), "-m", str(run_dir)]
        self._command = [sys.executable, "-P", "-m", "pysaslauthd", *own, *flags]
        self._unread = b""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def __enter__(self) -> Self:
        # A process group of its own: Ctrl-C reaches the demo alone, which ends the daemon.
        self._process = subprocess.Popen(  # noqa: S603 - this very package, with paths made by the demo
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0
        )
        try:
            self.wait_for(r"serving ", START_SECONDS)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None  # noqa: S101 - a pipe was asked for
        self._process.stderr.close()

    def ask(self, login: str, password: str, realm: str) -> Answer:
        """Ask about one login, as a mail server does."""
        request = AuthRequest(login.encode(), password.encode(), b"smtp", realm.encode())
        started = time.perf_counter()
        try:
            reply = _reply(self.mux, mux.encode_request(request))
        except OSError as error:
            raise self._failure(f"no answer from {self.mux}: {error}") from error
        milliseconds = (time.perf_counter() - started) * 1000
        line = self.wait_for(_LOGIN, ANSWER_SECONDS)
        reason = _REASON.search(line[0])
        return Answer(reply, milliseconds, "cached" if line[1] else reason[1] if reason else "")

    def wait_for(self, pattern: str | re.Pattern[str], seconds: float) -> re.Match[str]:
        """The next line of the log that the pattern is found in."""
        deadline = time.monotonic() + seconds
        while True:
            if found := re.search(pattern, self._line(deadline)):
                return found

    def line(self) -> str:
        """The next line of the log, whenever it comes."""
        return self._line(None)

    def _line(self, deadline: float | None) -> str:
        pipe = self._process.stderr
        assert pipe is not None  # noqa: S101 - a pipe was asked for
        while b"\n" not in self._unread:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            readable = select.select([pipe.fileno(), self._signals.fileno()], [], [], left)[0]
            if self._signals.fileno() in readable:
                raise KeyboardInterrupt
            if not readable:
                raise self._failure("the daemon does not do what is waited for")
            octets = pipe.read1()  # type: ignore[attr-defined]  # a BufferedReader, which IO[bytes] does not say
            if not octets:
                raise self._failure("the daemon has ended")
            self._unread += octets
        octets, _, self._unread = self._unread.partition(b"\n")
        line: str = octets.decode(errors="backslashreplace")
        self._last.append(line)
        return line

    def _failure(self, what: str) -> click.ClickException:
        return click.ClickException("\n  ".join([f"{what}; its log:", *self._last]))


def _reply(path: Path, request: bytes) -> str | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_SECONDS)
        client.connect(str(path))
        client.sendall(request)
        received = b""
        while (text := mux.decode_reply(received)) is None:
            octets = client.recv(mux.MAX_REPLY)
            if not octets:
                return None
            received += octets
    return text.decode(errors="backslashreplace")
