"""Where lines go: a local syslog daemon, or a descriptor. Nothing here waits."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import time
from abc import ABC, abstractmethod

from pysaslauthd.log.flood import WINDOW, Flood
from pysaslauthd.log.form import Form, formatter
from pysaslauthd.log.text import FACILITY, IDENT, severity


class LineHandler(logging.Handler, ABC):
    """Writes each record as one line without waiting; says afterwards how many lines were lost.

    Floods are summed up: at the end of their window where an event loop runs, otherwise before the next line.
    """

    def __init__(self, form: Form = "classic") -> None:
        super().__init__()
        self.setFormatter(formatter(form))
        self.lost = 0
        """Lines lost since the start."""
        self._untold = 0
        self._flood = Flood()
        self._timer: asyncio.TimerHandle | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises, never waits."""
        for summary in self._flood.ended():
            self._put(summary)
        if self._flood.takes(record):
            self._put(record)
        elif self._timer is None:
            self._wait()

    def flush(self) -> None:
        """Tell of every flood that has not been told of yet."""
        self._tell_ended(early=True)

    def _wait(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the next line tells, or the end
        self._timer = loop.call_later(WINDOW, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._tell_ended()
        if self._flood.counting:
            self._wait()

    def _tell_ended(self, *, early: bool = False) -> None:
        self.acquire()  # as logging does around emit
        try:
            for summary in self._flood.ended(early=early):
                self._put(summary)
        finally:
            self.release()

    def _put(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not break its caller
            self.handleError(record)
            return
        if self._untold and self._write_lost():
            self._untold = 0
        if self._untold or not self._write(record, line):
            self.lost += 1
            self._untold += 1

    def _write_lost(self) -> bool:
        text = f"{self._untold} log lines were lost: nobody took them"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None)
        return self._write(record, self.format(record))

    @abstractmethod
    def _write(self, record: logging.LogRecord, line: str) -> bool:
        """Write one line of printable ASCII, or return False at once."""


class DatagramHandler(LineHandler):
    """Writes each line as one datagram to a UNIX socket, which is opened again when its server was restarted."""

    def __init__(self, address: str, form: Form) -> None:
        super().__init__(form)
        self._address = address
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the socket; the next line opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        super().close()

    def _send(self, data: bytes) -> bool:
        if self._socket is not None:
            try:
                self._socket.send(data)
            except BlockingIOError:
                return False
            except OSError:
                # The daemon was restarted, most likely, and listens anew.
                self._socket.close()
                self._socket = None
            else:
                return True
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        link.setblocking(False)
        try:
            link.connect(self._address)
            link.send(data)
        except OSError:
            link.close()
            return False
        self._socket = link
        return True


class SyslogHandler(DatagramHandler):
    """Writes to the local syslog daemon, as glibc's syslog(3) does: facility auth, tag ``saslauthd[pid]``.

    :param address: the daemon's datagram socket.
    """

    def __init__(self, address: str = "/dev/log", *, form: Form = "classic") -> None:
        super().__init__(address, form)

    def _write(self, record: logging.LogRecord, line: str) -> bool:
        # %e pads with a space, as RFC 3164 section 4.1.2 wants it.
        stamp = time.strftime("%b %e %H:%M:%S")
        priority = FACILITY << 3 | severity(record.levelno)
        return self._send(f"<{priority}>{stamp} {IDENT}[{os.getpid()}]: {line}".encode())


class StderrHandler(LineHandler):
    """Writes to a descriptor, standard error unless told otherwise.

    A classic line begins with ``saslauthd[pid]:``, a JSON line has nothing before it.

    :param journal: whether the descriptor leads to systemd's journal: a line then begins with its priority, ``<N>``
        (sd-daemon(3)), instead; the journal knows who writes.
    """

    def __init__(self, fd: int = 2, *, journal: bool = False, form: Form = "classic") -> None:
        super().__init__(form)
        self._fd = fd
        self._journal = journal
        self._named = form == "classic"

    def _write(self, record: logging.LogRecord, line: str) -> bool:
        start = f"{IDENT}[{os.getpid()}]: " if self._named else ""
        if self._journal:
            start = f"<{severity(record.levelno)}>"
        # Not O_NONBLOCK: that would change the descriptor for every process that shares it.
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            if not any(events & select.POLLOUT for _, events in poll.poll(0)):
                return False
            os.write(self._fd, f"{start}{line}\n".encode())
        except OSError:
            return False
        return True
