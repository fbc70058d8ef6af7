"""How the daemon settles down: its run directory, its pid file, its life in the background."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pysaslauthd.errors import StartError

START_DEADLINE = 60.0
"""Seconds that a start may take: longer than any name server or directory is waited for at start."""


def make_run_dir(path: Path, *, owner: int = -1, group: int = -1) -> None:
    """Create the run directory, mode 0755, where there is none; its parent must be there.

    :param owner: numeric user id of a new one, so that the daemon can remove its files when it is that user; -1 leaves
        the process's own. One that is there belongs to whoever made it, and is left as it is.
    :param group: numeric group id, likewise.
    :raises StartError: it cannot be created, or is no directory.
    """
    try:
        path.mkdir(mode=0o755)
        # Whatever the umask: a mail server's user must reach the socket in it.
        path.chmod(0o755)
        if (owner, group) != (-1, -1):
            os.chown(path, owner, group)
    except FileExistsError:
        if not path.is_dir():
            raise StartError(f"{path} is no directory; name another with -m") from None
    except OSError as error:
        raise StartError(f"{path} cannot be created: {error.strerror}; create it, or name another with -m") from error


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Hold a pid file: locked, with this process's id and a newline in it; removed at the end.

    The locks are saslauthd's, POSIX record locks over whole files, so that neither starts beside the other in one run
    directory: on the pid file, and on ``….lock`` beside it, the only one that saslauthd takes in the foreground
    before it replaces the socket. A lock ends with its process and is not inherited by a fork.

    :raises StartError: another process holds one, or it cannot be written. Then nothing has been changed.
    """
    with _locked(path.with_name(f"{path.name}.lock"), path), _locked(path, path) as fd:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield


def in_background(work: Callable[[Callable[[], None]], int]) -> int:
    """Run ``work`` as a daemon: in a session of its own without a terminal, in ``/``.

    ``work`` gets a function to call once it serves, and returns an exit status. Until that call it has the
    terminal's standard streams; from then on they lead to /dev/null. The call raises :class:`StartError` where
    nobody waits for the start any more.

    Returns in the first process alone, with the exit status of the start: 0 once ``work`` serves, else its own.
    In the daemon it ends with SystemExit.

    :raises StartError: the system lets no process be made, or the daemon died or did not serve within 60 s.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    try:
        first = os.fork()
        if first:
            os.close(writer)
            os.waitpid(first, 0)
            return _wait_for_start(reader)
        # What follows in this function runs in a fork of it, which coverage does not follow to the function's end.
        os.close(reader)  # pragma: no cover - in a fork
        os.setsid()  # pragma: no cover - in a fork
        # Only a session's leader can get a terminal: its child cannot.
        if os.fork():  # pragma: no cover - in a fork
            os._exit(0)
    except OSError as error:
        raise StartError(f"cannot detach: {error.strerror}") from error
    raise SystemExit(_daemon(work, writer))  # pragma: no cover - in a fork


def _daemon(work: Callable[[Callable[[], None]], int], writer: int) -> int:
    os.chdir("/")
    start = _Start(writer)
    status = 1
    try:
        status = work(start.ready)
    finally:
        start.ended(status)
    return status


class _Start:
    """The daemon's end of the pipe to the process that waits for it."""

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._told = False

    def ready(self) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        if null > 2:
            os.close(null)
        try:
            self._tell(0)
        except BrokenPipeError:
            raise StartError("whoever started the daemon did not wait for it: given up") from None

    def ended(self, status: int) -> None:
        if not self._told:
            with contextlib.suppress(BrokenPipeError):
                # Status 0 without ever serving is no success.
                self._tell(status or 1)

    def _tell(self, status: int) -> None:
        self._told = True
        try:
            os.write(self._writer, bytes([status]))
        finally:
            os.close(self._writer)


def _wait_for_start(reader: int) -> int:
    try:
        if not select.select([reader], [], [], START_DEADLINE)[0]:
            raise StartError(f"the daemon did not serve within {START_DEADLINE:.0f} s: given up")
        status = os.read(reader, 1)
    finally:
        os.close(reader)
    if not status:
        raise StartError("the daemon died before it served")
    return status[0]


@contextlib.contextmanager
def _locked(path: Path, pid_path: Path) -> Iterator[int]:
    """A locked file's descriptor; the file is removed at the end."""
    fd = _lock(path, pid_path)
    try:
        yield fd
    finally:
        # The privilege to remove it may have been dropped; a file without a lock stands in nobody's way.
        with contextlib.suppress(OSError):
            if _same(fd, path):
                path.unlink()
        os.close(fd)


def _lock(path: Path, pid_path: Path) -> int:
    while True:
        try:
            # O_NOFOLLOW: in a folder that others may write to, a link could point at any file.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StartError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise StartError(
                f"{path} is held by a running daemon{_pid_in(pid_path)}; stop it, or use another -m"
            ) from error
        # The last holder may have removed it between the two calls: then the lock is on no name.
        if _same(fd, path):
            return fd
        os.close(fd)


def _pid_in(path: Path) -> str:
    try:
        return f" (pid {int(path.read_bytes()[:20])})"
    except (OSError, ValueError):
        return ""


def _same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False
