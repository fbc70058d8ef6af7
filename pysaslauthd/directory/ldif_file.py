"""One LDIF file, read whole and kept in memory; read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from pysaslauthd.directory.content import Content
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.errors import ConfigError, StartError
from pysaslauthd.wire import ldif

MAX_BYTES = 32 * 1024 * 1024
"""Bytes of the file: some 60,000 people. It takes eight times as much memory, and reading it again holds up the
event loop for 10 ms per MB."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the file. A change is taken once two looks have seen the same, so that a file
that is being written in place is not read half."""
LOOK_EVERY_WATCHED = 0.2
"""The same where cached logins hang on it."""

logger = logging.getLogger(__name__)


class _Version(NamedTuple):
    """What tells one state of a file from another; the change time also shows a change of its mode."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Version:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Reading(NamedTuple):
    """What reading the file brought."""

    version: _Version
    content: Content
    exposed: bool
    """Whether everybody may read the passwords in it."""


class LdifFile:
    """The content of an LDIF file as it was when last it could be read.

    A file that vanishes or breaks leaves the content as it is, and one warning.

    :param path: the file; it is read here and now.
    :param threads: where it is read again.
    :param look_every: seconds between two looks at it.
    :raises ConfigError: the file is not LDIF, or no entry is in it; with the line.
    :raises StartError: it cannot be read.
    """

    def __init__(self, path: str, threads: Executor, *, look_every: float = LOOK_EVERY) -> None:
        self._path = path
        self._threads = threads
        self._look_every = look_every
        self._timer: asyncio.TimerHandle | None = None
        self._job: asyncio.Future[Reading] | None = None
        self._complaint = ""
        self._exposed = False
        self._told: list[Callable[[], None]] = []
        self._read = time.monotonic()
        try:
            reading = read(path)
        except OSError as error:
            to_do = "; create it, or mend ldap_servers" if isinstance(error, FileNotFoundError) else ""
            raise StartError(f"{path}: {error.strerror}{to_do}") from error
        self.content = reading.content
        self._version: _Version | None = reading.version
        self._seen = reading.version
        self._warn_if_exposed(reading)

    def on_change(self, told: Callable[[], None]) -> None:
        """Call this from now on when the file has been read again, and look for it more often."""
        self._told.append(told)
        self._look_every = min(self._look_every, LOOK_EVERY_WATCHED)

    def start(self) -> None:
        """Begin to look at the file. Needs the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(self._look_every, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def state(self) -> ServerState:
        """The file, up since it was last read."""
        return ServerState(
            f"ldif://{self._path}", up=True, seconds=time.monotonic() - self._read, error=self._complaint
        )

    def _look_again(self) -> None:
        self.look()
        self.start()

    def look(self) -> asyncio.Future[Reading] | None:
        """Look at the file once; the reading that is now under way, if one is."""
        if self._job is not None:
            return self._job
        try:
            version = _Version.of(os.stat(self._path))
        except OSError as error:
            self._version = None
            self._complain(f"{self._path}: {error.strerror}")
            return None
        if version == self._version:
            return None
        if version != self._seen:
            self._seen = version
            return None
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._threads, read, self._path, self.content.indexed)
        self._job.add_done_callback(self._take)
        return self._job

    def _take(self, job: asyncio.Future[Reading]) -> None:
        self._job = None
        try:
            reading = job.result()
        except OSError as error:
            self._complain(f"{self._path}: {error.strerror}")
            return
        except ConfigError as error:
            self._version = self._seen
            self._complain(str(error))
            return
        self.content = reading.content
        self._version = reading.version
        self._read = time.monotonic()
        self._complaint = ""
        logger.info("%s: read again, it holds %d entries", self._path, len(self.content.entries))
        self._warn_if_exposed(reading)
        for told in self._told:
            told()

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            logger.warning("%s; what was read before stays in force", text)

    def _warn_if_exposed(self, reading: Reading) -> None:
        if reading.exposed and not self._exposed:
            logger.warning("%s: it holds passwords, and everybody may read it; chmod o-r", self._path)
        self._exposed = reading.exposed


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a FIFO too, without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def read(path: str, indexed: tuple[str, ...] = ()) -> Reading:
    """Read the file; make the indexes of these attributes.

    :raises ConfigError: the file is not LDIF, or no entry is in it; with the line.
    :raises OSError: it cannot be read.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("it is not a file", file=path)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"it has more than {MAX_BYTES} bytes; so many entries want an LDAP server", file=path)
    try:
        content = Content(ldif.parse(data))
    except ConfigError as error:
        raise ConfigError(error.reason, file=path, line=error.line) from error
    if not content.entries:
        raise ConfigError("there is no entry in it", file=path)
    for description in indexed:
        content.index(description)
    exposed = bool(status.st_mode & stat.S_IROTH and content.subtypes("userpassword"))
    return Reading(_Version.of(status), content, exposed)
