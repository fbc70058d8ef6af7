"""The forms of a line: saslauthd's classic one, and JSON."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Literal

from pysaslauthd.log.event import LoginEvent
from pysaslauthd.log.text import MAX_LINE, one_line

Form = Literal["classic", "json"]

_MAX_MESSAGE = MAX_LINE // 2 - 100
"""Characters of a message in JSON, which may double each, and says time, level and process besides."""


class ClassicFormatter(logging.Formatter):
    """The message alone; a login's is saslauthd's line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of printable ASCII."""
        # A login's event is all of its record: no arguments, no traceback.
        return one_line(str(record.msg) if isinstance(record.msg, LoginEvent) else super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object (RFC 8259) without line ends.

    Its members: ``time`` (RFC 3339, UTC), ``level``, ``pid``, ``event``; for the event ``login`` those of
    :meth:`LoginEvent.fields`, for the event ``message`` a ``message``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of printable ASCII."""
        members: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "pid": os.getpid(),
        }
        if isinstance(record.msg, LoginEvent):
            members |= {"event": "login", **record.msg.fields()}
        else:
            members |= {"event": "message", "message": one_line(super().format(record), _MAX_MESSAGE)}
        return json.dumps(members, separators=(",", ":"))


def formatter(form: Form) -> logging.Formatter:
    """The formatter of a form."""
    return JsonFormatter() if form == "json" else ClassicFormatter()
