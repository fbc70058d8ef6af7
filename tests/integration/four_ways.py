"""One login asked of four programs: the original and this project's daemon, each by custom and by bind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from rig import Daemon, DirectoryServer, Saslauthd, article
from rig.programs import wait_until

# The last login of a user in the daemon's log.
_LOGGED = r"auth (success|failure|unavailable): \[user={}@hoge\.cxm\](?:.*\[reason=([a-z-]+)\])?"


class Said(NamedTuple):
    """What the four said. ``custom`` and ``bind`` are this project's reasons; ``ok`` is accepted."""

    original_custom: bool
    original_bind: bool
    custom: str
    bind: str

    @property
    def accepted(self) -> tuple[bool, bool, bool, bool]:
        """The verdicts alone."""
        return self.original_custom, self.original_bind, self.custom == "ok", self.bind == "ok"


class FourWays:
    """The four programs, running."""

    def __init__(self, originals: list[Saslauthd], daemons: list[Daemon]) -> None:
        self._originals = originals
        self._daemons = daemons

    @classmethod
    @contextmanager
    def running(cls, server: DirectoryServer) -> Iterator[FourWays]:
        """Start them on a directory, without caches and delays."""
        with ExitStack() as stack:
            # No more than an attribute of the entry tells accounts of other object classes apart.
            conf = [article(server, method, ldap_filter="(mail=%U@%d)", failure_delay="0") for method in METHODS]
            originals = [stack.enter_context(Saslauthd.running(each)) for each in conf]
            yield cls(originals, [stack.enter_context(Daemon.running(each, "-V")) for each in conf])

    def ask(self, uid: str, password: str) -> Said:
        """Ask all four about ``uid@hoge.cxm``."""
        custom, bind = (each.ask(f"{uid}@hoge.cxm", password) for each in self._originals)
        assert None not in (custom, bind)
        return Said((custom or b"")[:2] == b"OK", (bind or b"")[:2] == b"OK", *self._reasons(uid, password))

    def _reasons(self, uid: str, password: str) -> Iterator[str]:
        logged = re.compile(_LOGGED.format(re.escape(uid)))
        for daemon in self._daemons:
            before = len(logged.findall(daemon.log))
            answer = daemon.ask(f"{uid}@hoge.cxm", password)
            wait_until(lambda: len(logged.findall(daemon.log)) > before, f"{uid} in the log:\n{daemon.log[-2000:]}")  # noqa: B023 - called before the next turn
            verdict, reason = logged.findall(daemon.log)[-1]
            assert {"success": b"OK", "failure": b"NO", "unavailable": None}[verdict] == answer
            assert reason or verdict == "success"
            yield reason or "ok"


METHODS = ("custom", "bind")
