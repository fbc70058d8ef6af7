"""What is logged, and where to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Literal

from pysaslauthd.log.form import Form
from pysaslauthd.log.handlers import LineHandler, StderrHandler
from pysaslauthd.log.journal import SOCKET, JournalHandler, leads_to_journal

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Mapping[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""debug: accepted logins too; info: rejected ones too; warning: what is out of order, undecided logins among it."""
_PACKAGE = "pysaslauthd"


def setup(handlers: Iterable[logging.Handler], *, verbose: bool) -> None:
    """Send every record of this process to these handlers alone: INFO and above of this package, with ``verbose``
    DEBUG too, and the WARNINGs of all others.
    """
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    # What no line shows is not looked for, as the manual of logging has it: a sixth of the time of a line.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    set_level("debug" if verbose else "info")


def set_level(least: Level) -> None:
    """Log what this package says from this level on; may be called at any time."""
    logging.getLogger(_PACKAGE).setLevel(LEVELS[least])


def level() -> Level:
    """What :func:`set_level` was given last."""
    now = logging.getLogger(_PACKAGE).getEffectiveLevel()
    return next((name for name, least in LEVELS.items() if least >= now), "error")


def lost() -> int:
    """Lines that nobody took, since the start."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))


def attached(environ: Mapping[str, str], form: Form, *, fd: int = 2, socket: str = SOCKET) -> LineHandler:
    """The handler for a process that stays attached: the journal where systemd connected it, or standard error.

    :param fd: standard error.
    :param socket: the journal's; where it cannot be reached, standard error leads there too, without fields.
    """
    journal = leads_to_journal(environ, fd)
    if journal and os.access(socket, os.W_OK):
        return JournalHandler(socket, form=form)
    return StderrHandler(fd, journal=journal, form=form)
