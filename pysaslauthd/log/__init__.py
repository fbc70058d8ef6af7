"""The log: one line per record, to syslog, the journal or standard error, and one event per login.

The name in every line is ``saslauthd``, not this program's own: fail2ban filters, log parsers and syslog rules
that know ``saslauthd[123]: do_auth         : auth failure: [user=…]`` go on.

What a client or a directory sent is escaped and cut before it gets into a line (:class:`LoginEvent`), and every line
once more as a whole, so that nothing can start a line of its own. Writing never waits: a message that the system does
not take at once is lost, and counted. A flood of one message is summed up (:mod:`pysaslauthd.log.flood`).
"""

from __future__ import annotations

from pysaslauthd.log.event import LoginEvent, is_logged, log_outcome
from pysaslauthd.log.form import Form
from pysaslauthd.log.handlers import LineHandler, StderrHandler, SyslogHandler
from pysaslauthd.log.journal import JournalHandler, leads_to_journal
from pysaslauthd.log.setting import LEVELS, Level, attached, level, lost, set_level, setup
from pysaslauthd.log.text import escape

__all__ = [
    "LEVELS",
    "Form",
    "JournalHandler",
    "Level",
    "LineHandler",
    "LoginEvent",
    "StderrHandler",
    "SyslogHandler",
    "attached",
    "escape",
    "is_logged",
    "leads_to_journal",
    "level",
    "log_outcome",
    "lost",
    "set_level",
    "setup",
]
