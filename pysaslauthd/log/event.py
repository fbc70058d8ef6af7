"""One login and what came of it, as an event of the log."""

from __future__ import annotations

import logging
from typing import NamedTuple

from pysaslauthd.log.text import escape, escape_text
from pysaslauthd.model import AuthRequest, Door, Identity, Outcome, Peer, Reason, Verdict

_VERDICTS = {
    Verdict.ACCEPTED: (logging.DEBUG, "auth success"),
    Verdict.REJECTED: (logging.INFO, "auth failure"),
    # Other words than saslauthd's: who counts failures to ban somebody must not count a directory's outage.
    Verdict.UNAVAILABLE: (logging.WARNING, "auth unavailable"),
}
# By the reasons' values, since hashing a member is a call of Python.
_LEVELS = {reason.value: _VERDICTS[reason.verdict][0] for reason in Reason}
_LOGINS = logging.getLogger("pysaslauthd.logins")


class LoginEvent(NamedTuple):
    """One login and what came of it. Never holds a password. ``str`` gives saslauthd's classic line.

    It is the ``msg`` of its log record, so that another formatter can take it apart.
    """

    reason: Reason
    user: bytes
    """The login as it was asked about."""
    identity: bytes
    """Who was meant."""
    service: bytes
    realm: bytes
    remote: bytes
    detail: str
    server: str
    method: str
    """``ldap_auth_method``."""
    cached: bool
    door: Door
    peer: Peer | None
    milliseconds: float
    local: bytes = b""
    secured: bool | None = None
    session: bytes = b""
    repeated: int = 0
    """If not 0, the event stands for so many alike, itself the last of them (:mod:`pysaslauthd.log.flood`)."""

    @property
    def verdict(self) -> Verdict:
        """ACCEPTED, REJECTED or UNAVAILABLE."""
        return self.reason.verdict

    @property
    def host(self) -> bytes:
        """``remote`` without a port."""
        return self.remote.partition(b";")[0]

    def fields(self) -> dict[str, str | int | float | bool]:
        """All of it by name, escaped, for what is not read by people; what is not known has no name here."""
        fields: dict[str, str | int | float | bool] = {
            "verdict": self.verdict.value,
            "reason": self.reason.value,
            "user": escape(self.user),
            "identity": escape(self.identity),
            "service": escape(self.service),
            "realm": escape(self.realm),
            "door": self.door,
            "cached": self.cached,
            "ms": round(self.milliseconds, 3),
        }
        for name, value in (("remote", self.remote), ("local", self.local), ("session", self.session)):
            if value:
                fields[name] = escape(value)
        for name, text in (("method", self.method), ("server", self.server), ("detail", self.detail)):
            if text:
                fields[name] = escape_text(text)
        if self.secured is not None:
            fields["secured"] = self.secured
        if self.peer is not None:
            fields["client_pid"] = self.peer.pid
            fields["client_uid"] = self.peer.uid
        if self.repeated:
            fields["repeated"] = self.repeated
        return fields

    def __str__(self) -> str:
        verdict = self.verdict
        what = _VERDICTS[verdict][1]
        if self.cached and verdict is Verdict.ACCEPTED:
            what += " (cached)"
        line = (
            f"do_auth         : {what}:"
            f" [user={escape(self.user)}] [service={escape(self.service)}] [realm={escape(self.realm)}]"
        )
        if self.remote:
            line += f" [remote={escape(self.remote)}]"
        if self.local:
            line += f" [local={escape(self.local)}]"
        if self.secured is not None:
            line += " [secured=yes]" if self.secured else " [secured=no]"
        if self.session:
            line += f" [session={escape(self.session)}]"
        line += " [mech=ldap]"
        if verdict is not Verdict.ACCEPTED:
            line += f" [reason={self.reason.value}]"
            if self.cached:
                line += " [cached=yes]"
        if self.detail:
            line += f" [detail={escape_text(self.detail)}]"
        if self.identity != self.user:
            line += f" [identity={escape(self.identity)}]"
        if self.method:
            line += f" [method={self.method}]"
        if self.server:
            line += f" [server={escape_text(self.server)}]"
        line += f" [door={self.door}]"
        if self.peer is not None:
            line += f" [pid={self.peer.pid}] [uid={self.peer.uid}]"
        line += f" [ms={self.milliseconds:.1f}]"
        if self.repeated:
            line += f" [repeated={self.repeated}]"
        return line


def is_logged(outcome: Outcome) -> bool:
    """Whether :func:`log_outcome` would write a line."""
    return _LOGINS.isEnabledFor(_LEVELS[outcome.reason._value_])


def log_outcome(
    request: AuthRequest, identity: Identity, outcome: Outcome, milliseconds: float, *, method: str = ""
) -> None:
    """Log one login: rejected as INFO, undecided as WARNING, accepted as DEBUG.

    :param method: ``ldap_auth_method``; empty where it does not apply.
    """
    event = LoginEvent(
        reason=outcome.reason,
        user=identity.login,
        identity=identity.address,
        service=request.service,
        realm=request.realm,
        remote=request.remote,
        detail=outcome.detail,
        server=outcome.server,
        method=method,
        cached=outcome.cached,
        door=request.door,
        peer=request.peer,
        milliseconds=milliseconds,
        local=request.local,
        secured=request.secured,
        session=request.session,
    )
    _LOGINS.log(_LEVELS[outcome.reason._value_], event)
