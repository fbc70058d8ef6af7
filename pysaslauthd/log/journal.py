"""systemd's journal, by its own protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): the line, and a login's fields.

One datagram an entry, ``NAME=value`` a line; since no value has a line end, the protocol's other form is not needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from pysaslauthd.log.event import LoginEvent
from pysaslauthd.log.form import Form
from pysaslauthd.log.handlers import DatagramHandler
from pysaslauthd.log.text import FACILITY, IDENT, severity

SOCKET = "/run/systemd/journal/socket"
"""Where the journal takes entries of its own protocol."""
PREFIX = "PYSASLAUTHD_"
"""Before the name of each of :meth:`LoginEvent.fields`, in capitals."""


class JournalHandler(DatagramHandler):
    """Writes to the journal.

    :param address: its socket.
    """

    def __init__(self, address: str = SOCKET, *, form: Form = "classic") -> None:
        super().__init__(address, form)

    def _write(self, record: logging.LogRecord, line: str) -> bool:
        fields: dict[str, object] = {
            "MESSAGE": line,
            "PRIORITY": severity(record.levelno),
            "SYSLOG_FACILITY": FACILITY,
            "SYSLOG_IDENTIFIER": IDENT,
            "SYSLOG_PID": os.getpid(),
        }
        if isinstance(record.msg, LoginEvent):
            fields |= {PREFIX + name.upper(): _text(value) for name, value in record.msg.fields().items()}
        return self._send("".join(f"{name}={value}\n" for name, value in fields.items()).encode())


def leads_to_journal(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether a descriptor is the one that systemd connected to its journal ($JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value
