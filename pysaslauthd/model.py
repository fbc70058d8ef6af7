"""What passes between the rooms: a request, an identity, an outcome. Values only."""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple


class Verdict(enum.Enum):
    """What a client may be told. There are three, never two."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"


class _Judged:
    verdict: Verdict
    """The verdict that this reason belongs to."""


class Reason(_Judged, enum.Enum):
    """Why. Each reason belongs to one verdict, so that no outcome can contradict itself.

    The value is the stable word used in logs and metrics.
    """

    OK = "ok"

    EMPTY_LOGIN = "empty-login"
    EMPTY_PASSWORD = "empty-password"
    NUL_IN_LOGIN = "nul-in-login"
    NUL_IN_PASSWORD = "nul-in-password"
    UNKNOWN_REALM = "unknown-realm"
    UNKNOWN_USER = "unknown-user"
    AMBIGUOUS_USER = "ambiguous-user"
    WRONG_PASSWORD = "wrong-password"
    NO_PASSWORD = "no-password"
    UNKNOWN_SCHEME = "unknown-scheme"
    MALFORMED_HASH = "malformed-hash"
    LOCKED = "locked"
    TOO_MANY_TRIES = "too-many-tries"
    EXPIRED = "expired"
    MUST_CHANGE = "must-change"
    NOT_YET_VALID = "not-yet-valid"
    INACTIVE = "inactive"
    NOT_IN_GROUP = "not-in-group"

    HASH_TOO_COSTLY = "hash-too-costly"
    HASH_UNSUPPORTED = "hash-unsupported"
    DIRECTORY_DOWN = "directory-down"
    DIRECTORY_TIMEOUT = "directory-timeout"
    DIRECTORY_REFUSED = "directory-refused"
    SERVICE_BIND_REFUSED = "service-bind-refused"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    INTERNAL_ERROR = "internal-error"


_UNAVAILABLE = frozenset(
    {
        Reason.HASH_TOO_COSTLY,
        Reason.HASH_UNSUPPORTED,
        Reason.DIRECTORY_DOWN,
        Reason.DIRECTORY_TIMEOUT,
        Reason.DIRECTORY_REFUSED,
        Reason.SERVICE_BIND_REFUSED,
        Reason.DEADLINE,
        Reason.OVERLOADED,
        Reason.INTERNAL_ERROR,
    }
)
for _reason in Reason:  # an attribute, because it is read several times a login and looking it up costs ten times that
    _reason.verdict = Verdict.UNAVAILABLE if _reason in _UNAVAILABLE else Verdict.REJECTED
Reason.OK.verdict = Verdict.ACCEPTED


Door = Literal["mux", "dovecot"]


class Peer(NamedTuple):
    """The process behind a local socket, as SO_PEERCRED tells it."""

    pid: int
    uid: int
    gid: int


class AuthRequest(NamedTuple):
    """One login to decide, as a door understood it. Bytes as received: never cut, never normalised.

    ``repr`` and ``str`` leave the password out.
    """

    login: bytes
    password: bytes
    service: bytes = b""
    realm: bytes = b""
    remote: bytes = b""
    """Address of the person's mail program as the client printed it; empty where unknown."""
    door: Door = "mux"
    """Which protocol brought it."""
    peer: Peer | None = None
    local: bytes = b""
    """Address of the mail server that the person's mail program reached; empty where unknown."""
    secured: bool | None = None
    """Whether that connection is protected (TLS, or within one machine); None where unknown."""
    session: bytes = b""
    """The mail server's own name of the person's session, as in its log; empty where it has none."""

    def __repr__(self) -> str:
        return (
            f"AuthRequest(login={self.login!r}, service={self.service!r}, realm={self.realm!r}, "
            f"remote={self.remote!r}, door={self.door!r}, local={self.local!r}, secured={self.secured}, "
            f"session={self.session!r})"
        )


class Outcome(NamedTuple):
    """The decision on one request.

    ``detail`` is for the log alone (scheme, result code, server's message); never shown to a client,
    never a secret. ``dn`` is the user's entry where it is known, ``server`` the directory server that
    answered, ``cached`` whether no directory was asked. ``group`` is the group's entry that let the user in.
    ``names`` are those under which a watch tells of changes of the entries that an accepted login hangs on; empty where
    nobody watches, or where it could not be told of all of them. ``directory`` is which of several was asked.
    """

    reason: Reason
    detail: str = ""
    dn: bytes = b""
    server: str = ""
    cached: bool = False
    group: bytes = b""
    names: tuple[bytes, ...] = ()
    directory: str = ""

    @property
    def verdict(self) -> Verdict:
        """ACCEPTED, REJECTED or UNAVAILABLE."""
        return self.reason.verdict


class Identity(NamedTuple):
    """Who is meant, however it was typed: the values behind the tokens of a template.

    ``login`` is %u, ``user`` %U, ``domain`` %d (after the last ``@`` of the login, else the realm, else
    the default realm), ``realm`` what %R is made of (the request's, else the default; may be empty), ``service`` %s,
    ``realm_or_domain`` %r.
    """

    login: bytes
    user: bytes
    domain: bytes
    realm: bytes
    service: bytes
    realm_or_domain: bytes

    @property
    def address(self) -> bytes:
        """``user@domain``, or the user alone where there is no domain: one name per person."""
        return self.user + b"@" + self.domain if self.domain else self.user


def identify(request: AuthRequest, *, default_realm: bytes = b"", append_realm: bool = False) -> Identity:
    """The identity that a request means.

    The login is cut at its *last* ``@``, as libsasl2 does before it asks the mux, so that the same
    person comes out of both spellings. ``append_realm`` is saslauthd's ``-r``: the login becomes
    ``login@realm`` where the request has a realm and the login does not carry that very realm already.
    """
    login = request.login
    user, at, domain = login.rpartition(b"@")
    if not at:
        user, domain = login, b""
    if append_realm and request.realm and domain.lower() != request.realm.lower():
        user, domain = login, request.realm
        login = user + b"@" + domain
    realm = request.realm or default_realm
    domain = domain or realm
    # Not Identity(…), which is a call of Python.
    return tuple.__new__(Identity, (login, user, domain, realm, request.service, realm or domain))


def refused_unasked(request: AuthRequest, identity: Identity) -> Reason | None:
    """Why no directory must be asked about a request, if so."""
    if not identity.user:
        return Reason.EMPTY_LOGIN
    if not request.password:  # a bind without a password succeeds as nobody (RFC 4513 section 5.1.2)
        return Reason.EMPTY_PASSWORD
    # An octet is found five times as fast as a string of one.
    if 0 in request.login or 0 in request.realm or 0 in request.service:
        return Reason.NUL_IN_LOGIN
    if 0 in request.password:  # 389 DS would cut it there, and accept the rest
        return Reason.NUL_IN_PASSWORD
    return None
