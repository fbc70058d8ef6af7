"""Foreign text made safe for a line."""

from __future__ import annotations

import logging
import re

IDENT = "saslauthd"
"""The name in every line."""
FACILITY = 4
"""LOG_AUTH (RFC 3164 section 4.1.1)."""
MAX_FIELD = 256
"""Characters of one field after escaping: saslauthd takes no longer login, and ten such fields fit into a line."""
MAX_LINE = 4000
"""Characters of a line: below PIPE_BUF, so that a pipe takes a line whole or not at all; syslog daemons take 8 kB."""

_FIELD = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *b"[\\]", *range(0x7F, 0x100))}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}
_PLAIN = re.compile(rb"[ -Z^-~]{,%d}" % MAX_FIELD).fullmatch
_BROKEN_ESCAPE = re.compile(r"\\(x[0-9a-f]?)?$")


def escape(value: bytes) -> str:
    r"""Foreign bytes as a field of a log line: printable ASCII stays, all else and ``[``, ``]``, ``\`` become ``\xNN``.

    At most 256 characters; ``...`` marks what was cut.
    """
    if _PLAIN(value):  # nearly always
        return value.decode()
    text = value[: MAX_FIELD + 1].decode("latin-1").translate(_FIELD)
    if len(text) <= MAX_FIELD:
        return text
    return _BROKEN_ESCAPE.sub("", text[: MAX_FIELD - 3]) + "..."


def escape_text(value: str) -> str:
    """The same for text: its UTF-8."""
    return escape(value.encode(errors="backslashreplace"))


def one_line(text: str, longest: int = MAX_LINE) -> str:
    """A record's text, traceback and all, as one line of at most ``longest`` characters, all printable ASCII."""
    line = text.strip()
    if len(line) <= longest and line.isascii() and line.isprintable():  # nearly always
        return line
    line = re.sub(r"\s*\n", " | ", line).translate(_CONTROL).encode("ascii", "backslashreplace").decode()
    if len(line) > longest:
        # A traceback's ends matter: what was being done, and the exception.
        line = f"{line[: longest // 2]} ... {line[5 - longest // 2 :]}"
    return line


def severity(level: int) -> int:
    """The syslog severity of a level of :mod:`logging` (RFC 5424 section 6.2.1)."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
