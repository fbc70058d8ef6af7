"""The log: one line per record, to syslog or to standard error, and one event per login.

The name in every line is ``saslauthd``, not this program's own: fail2ban filters, log parsers and syslog rules
that know ``saslauthd[123]: do_auth         : auth failure: [user=…]`` go on.

What a client or a directory sent is escaped and cut before it gets here (:class:`LoginEvent`), and every line once
more as a whole, so that nothing can start a line of its own. Writing never waits: a message that the system does
not take at once is lost, and counted.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pysaslauthd.model import AuthRequest, Door, Identity, Outcome, Peer, Reason, Verdict

IDENT = "saslauthd"
_FACILITY_AUTH = 4
"""LOG_AUTH (RFC 3164 section 4.1.1)."""
_MAX_FIELD = 256
"""Characters of one field after escaping: saslauthd takes no longer login, and ten such fields fit into a line."""
_MAX_LINE = 4000
"""Characters of a line: below PIPE_BUF, so that a pipe takes a line whole or not at all; syslog daemons take 8 kB."""

_FIELD = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *b"[\\]", *range(0x7F, 0x100))}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}
_BROKEN_ESCAPE = re.compile(r"\\(x[0-9a-f]?)?$")
_VERDICTS = {
    Verdict.ACCEPTED: (logging.DEBUG, "auth success"),
    Verdict.REJECTED: (logging.INFO, "auth failure"),
    # Other words than saslauthd's: who counts failures to ban somebody must not count a directory's outage.
    Verdict.UNAVAILABLE: (logging.WARNING, "auth unavailable"),
}
_LOGINS = logging.getLogger("pysaslauthd.logins")


class LoginEvent(NamedTuple):
    """One login and what came of it. Never holds a password. ``str`` gives saslauthd's classic line.

    It is the ``msg`` of its log record, so that another formatter can take it apart.
    """

    reason: Reason
    user: bytes
    service: bytes
    realm: bytes
    remote: bytes
    detail: str
    server: str
    cached: bool
    door: Door
    peer: Peer | None
    milliseconds: float
    local: bytes = b""
    secured: bool | None = None
    session: bytes = b""

    def __str__(self) -> str:
        verdict = self.reason.verdict
        what = _VERDICTS[verdict][1]
        if self.cached and verdict is Verdict.ACCEPTED:
            what += " (cached)"
        fields = [("user", escape(self.user)), ("service", escape(self.service)), ("realm", escape(self.realm))]
        if self.remote:
            fields.append(("remote", escape(self.remote)))
        if self.local:
            fields.append(("local", escape(self.local)))
        if self.secured is not None:
            fields.append(("secured", "yes" if self.secured else "no"))
        if self.session:
            fields.append(("session", escape(self.session)))
        fields.append(("mech", "ldap"))
        if verdict is not Verdict.ACCEPTED:
            fields.append(("reason", self.reason.value))
            if self.cached:
                fields.append(("cached", "yes"))
        if self.detail:
            fields.append(("detail", escape(self.detail.encode(errors="backslashreplace"))))
        if self.server:
            fields.append(("server", escape(self.server.encode(errors="backslashreplace"))))
        fields.append(("door", self.door))
        if self.peer is not None:
            fields += [("pid", str(self.peer.pid)), ("uid", str(self.peer.uid))]
        fields.append(("ms", f"{self.milliseconds:.1f}"))
        return f"{'do_auth':16}: {what}: " + " ".join(f"[{name}={value}]" for name, value in fields)


def log_outcome(request: AuthRequest, identity: Identity, outcome: Outcome, milliseconds: float) -> None:
    """Log one login: rejected as INFO, undecided as WARNING, accepted as DEBUG."""
    level = _VERDICTS[outcome.verdict][0]
    if _LOGINS.isEnabledFor(level):
        event = LoginEvent(
            reason=outcome.reason,
            user=identity.login,
            service=request.service,
            realm=request.realm,
            remote=request.remote,
            detail=outcome.detail,
            server=outcome.server,
            cached=outcome.cached,
            door=request.door,
            peer=request.peer,
            milliseconds=milliseconds,
            local=request.local,
            secured=request.secured,
            session=request.session,
        )
        _LOGINS.log(level, event)


def escape(value: bytes) -> str:
    r"""Foreign bytes as a field of a log line: printable ASCII stays, all else and ``[``, ``]``, ``\`` become ``\xNN``.

    At most 256 characters; ``...`` marks what was cut.
    """
    text = value[: _MAX_FIELD + 1].decode("latin-1").translate(_FIELD)
    if len(text) <= _MAX_FIELD:
        return text
    return _BROKEN_ESCAPE.sub("", text[: _MAX_FIELD - 3]) + "..."


def setup(handlers: Iterable[logging.Handler], *, verbose: bool) -> None:
    """Send every record of this process to these handlers alone: INFO and above of this package, with ``verbose``
    DEBUG too, and the WARNINGs of all others.
    """
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    logging.getLogger("pysaslauthd").setLevel(logging.DEBUG if verbose else logging.INFO)


class LineHandler(logging.Handler, ABC):
    """Writes each record as one line without waiting; says afterwards how many lines were lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        """Lines lost since the start."""
        self._untold = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises, never waits."""
        try:
            line = one_line(self.format(record))
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not break its caller
            self.handleError(record)
            return
        if self._untold and self._write(logging.WARNING, f"{self._untold} log lines were lost: nobody took them"):
            self._untold = 0
        if self._untold or not self._write(record.levelno, line):
            self.lost += 1
            self._untold += 1

    @abstractmethod
    def _write(self, level: int, line: str) -> bool:
        """Write one line of printable ASCII, or return False at once."""


class SyslogHandler(LineHandler):
    """Writes to the local syslog daemon, as glibc's syslog(3) does: facility auth, tag ``saslauthd[pid]``.

    :param address: the daemon's datagram socket.
    """

    def __init__(self, address: str = "/dev/log") -> None:
        super().__init__()
        self._address = address
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the socket; the next line opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        super().close()

    def _write(self, level: int, line: str) -> bool:
        # %e pads with a space, as RFC 3164 section 4.1.2 wants it.
        stamp = time.strftime("%b %e %H:%M:%S")
        data = f"<{_FACILITY_AUTH << 3 | _severity(level)}>{stamp} {IDENT}[{os.getpid()}]: {line}".encode()
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


class StderrHandler(LineHandler):
    """Writes to a descriptor, standard error unless told otherwise.

    :param journal: whether the descriptor leads to systemd's journal (:func:`leads_to_journal`): the line then
        begins with its priority, ``<N>`` (sd-daemon(3)), in place of ``saslauthd[pid]:``, which the journal knows.
    """

    def __init__(self, fd: int = 2, *, journal: bool = False) -> None:
        super().__init__()
        self._fd = fd
        self._journal = journal

    def _write(self, level: int, line: str) -> bool:
        start = f"<{_severity(level)}>" if self._journal else f"{IDENT}[{os.getpid()}]: "
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


def leads_to_journal(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether a descriptor is the one that systemd connected to its journal ($JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def one_line(text: str) -> str:
    """A record's text, traceback and all, as one line of at most 4000 characters, all printable ASCII."""
    line = re.sub(r"\s*\n", " | ", text.strip()).translate(_CONTROL).encode("ascii", "backslashreplace").decode()
    if len(line) > _MAX_LINE:
        # A traceback's ends matter: what was being done, and the exception.
        line = f"{line[: _MAX_LINE // 2]} ... {line[5 - _MAX_LINE // 2 :]}"
    return line


def _severity(level: int) -> int:
    """The syslog severity of a level of :mod:`logging` (RFC 5424 section 6.2.1)."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
