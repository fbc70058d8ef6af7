"""The lines of Dovecot's auth-client protocol, version 1.2, as a server reads and writes them.

Spoken by Postfix (``smtpd_sasl_type = dovecot``), Exim (``driver = dovecot``), chasquid and ``doveadm auth
test``. The source is Dovecot's page "Authentication Protocol"; where its clients differ from it they decide,
and a comment names the program. What may follow what is the business of :mod:`pysaslauthd.wire.dovecot_session`.

A line is fields separated by TAB and ended by LF. In a value 0x01 escapes what cannot stand for itself.
"""

from __future__ import annotations

import binascii
import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import Reason, Verdict
from pysaslauthd.wire.sasl import MECHANISMS

MAX_LINE = 16384
"""Bytes of a line with its LF. Postfix sends up to 12288 characters of base64 in one CONT."""
MAX_NAME = 7936
"""Bytes of a person's name. It goes back in ``user=``, and Exim reads a whole reply into 8192 bytes."""
_MAX_NUMBER = 2**32 - 1

_ESCAPE = re.compile(rb"\x01(.?)", re.DOTALL)
_ESCAPED = {b"0": b"\0", b"1": b"\1", b"t": b"\t", b"r": b"\r", b"n": b"\n"}
# Postfix and Exim take user= as it stands on the wire: there an escaped name would be another name.
_NO_NAME = re.compile(rb"[\x00-\x1f\x7f]")

# Postfix shows reason= to the person on the other side, so none of these tells anything that helps to guess.
_REJECTED = b"reason=Invalid user name or password"
_UNAVAILABLE = b"reason=Temporary authentication failure"

# Each code bare, for Dovecot up to 2.2, and as code= for its successors.
_DISABLED = b"\tuser_disabled\tcode=user_disabled"
_EXPIRED = b"\tpass_expired\tcode=pass_expired"
_CODES = {
    Reason.LOCKED: _DISABLED,
    Reason.TOO_MANY_TRIES: _DISABLED,
    Reason.NOT_YET_VALID: _DISABLED,
    Reason.INACTIVE: _DISABLED,
    Reason.EXPIRED: _EXPIRED,
    Reason.MUST_CHANGE: _EXPIRED,
    Reason.NOT_IN_GROUP: b"\tauthz\tcode=authz_fail",
}


class Version(NamedTuple):
    """``VERSION``: the client's minor version. The major version is 1."""

    minor: int


class Cpid(NamedTuple):
    """``CPID``: the client's process id as it says it; SO_PEERCRED knows better."""

    pid: int


class Auth(NamedTuple):
    """``AUTH``. ``response`` is what ``resp=`` holds, still in base64; None without ``resp=``.

    The rest is what goes into the :class:`pysaslauthd.model.AuthRequest`. Of an address nothing is kept where the
    client's value is none.
    """

    id: int
    mechanism: bytes
    response: bytes | None
    service: bytes = b""
    remote: bytes = b""
    local: bytes = b""
    secured: bool = False
    session: bytes = b""

    def __repr__(self) -> str:
        return (
            f"Auth(id={self.id}, mechanism={self.mechanism!r}, service={self.service!r}, remote={self.remote!r}, "
            f"local={self.local!r}, secured={self.secured}, session={self.session!r})"
        )


class Cont(NamedTuple):
    """``CONT``. ``response`` is still in base64."""

    id: int
    response: bytes

    def __repr__(self) -> str:
        return f"Cont(id={self.id})"


class Cancel(NamedTuple):
    """``CANCEL``."""

    id: int


Line = Version | Cpid | Auth | Cont | Cancel


def parse(line: bytes) -> Line:
    """One line without its LF. Parameters that are not known, or hold no sense, are passed over.

    :raises ProtocolError: for anything that no sane client sends; never quotes the line, which may hold a
        password.
    """
    command, *fields = line.split(b"\t")
    match command, fields:
        case b"AUTH", [request_id, mechanism, *parameters]:
            return _auth(_number(request_id, "AUTH id"), mechanism, parameters)
        case b"CONT", [request_id, response, *_]:
            return Cont(_number(request_id, "CONT id"), response)
        case b"CANCEL", [request_id, *_]:
            return Cancel(_number(request_id, "CANCEL id"))
        case b"VERSION", [b"1", minor, *_]:
            return Version(_number(minor, "minor version", least=0))
        case b"VERSION", [_, _, *_]:
            raise ProtocolError("VERSION of another major version than 1")
        case b"CPID", [pid, *_]:
            return Cpid(_number(pid, "CPID"))
        case b"AUTH" | b"CONT" | b"CANCEL" | b"VERSION" | b"CPID", _:
            raise ProtocolError(f"{command.decode()} with too few fields")
    raise ProtocolError("unknown command")


def _auth(request_id: int, mechanism: bytes, parameters: list[bytes]) -> Auth:
    values = {}
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        values[name] = unescape(value) if b"\1" in value else value
    return Auth(
        request_id,
        mechanism,
        values.get(b"resp"),
        values.get(b"service") or values.get(b"protocol", b""),  # Dovecot 2.4 says protocol=
        _address(values.get(b"rip", b"")),
        _address(values.get(b"lip", b"")),
        b"secured" in values,
        values.get(b"session", b""),
    )


def _number(text: bytes, what: str, *, least: int = 1) -> int:
    # The length first: int() of a long line is slow.
    if not (text.isdigit() and len(text) <= 10 and least <= (number := int(text)) <= _MAX_NUMBER):
        raise ProtocolError(f"{what} is not a number from {least} to {_MAX_NUMBER}")
    return number


def _address(text: bytes) -> bytes:
    """The value if it is an IP address, else nothing: Postfix may send ``rip=``, Exim ``lip=NULL``."""
    # The module ipaddress takes several times as long, and each login has two addresses.
    try:
        if b":" in text:
            inet_pton(AF_INET6, text.partition(b"%")[0].decode("ascii"))
        else:
            inet_pton(AF_INET, text.decode("ascii"))
    except (OSError, ValueError):
        return b""
    # The zone of an IPv6 address may be anything.
    return b"" if _NO_NAME.search(text) else text


def unescape(value: bytes) -> bytes:
    """A value of a line as it is meant; 0x01 before any other byte is dropped, as Dovecot does."""
    return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value)


def decode(response: bytes) -> bytes:
    """A response out of its base64.

    :raises binascii.Error: when it is none.
    """
    return binascii.a2b_base64(response, strict_mode=True)


def can_be_told(name: bytes) -> bool:
    """Whether the name can stand in a reply, in the only way that all clients understand."""
    return len(name) <= MAX_NAME and not _NO_NAME.search(name)


def greeting(pid: int, cuid: int, cookie: str) -> bytes:
    """The server's handshake, for :class:`pysaslauthd.wire.dovecot_session.Session`'s parameters.

    In this order: Postfix from 3.0 on ends itself when SPID comes before MECH. With these words alone:
    Dovecot's clients end at a line, Postfix before 2.8 at a flag of MECH that it does not know.
    """
    offers = b"".join(b"MECH\t%b\tplaintext\n" % name for name in MECHANISMS)
    return b"VERSION\t1\t2\n%bSPID\t%d\nCUID\t%d\nCOOKIE\t%b\nDONE\n" % (offers, pid, cuid, cookie.encode())


def challenge(request_id: int, data: bytes) -> bytes:
    """``CONT``. The second TAB stands before nothing too: Postfix wants it."""
    return b"CONT\t%d\t%b\n" % (request_id, binascii.b2a_base64(data, newline=False))


def cancelled(request_id: int) -> bytes:
    """``CANCELLED``, for clients of minor version 4 or later."""
    return b"CANCELLED\t%d\n" % request_id


def final(request_id: int, name: bytes, reason: Reason) -> bytes:
    """``OK`` or ``FAIL`` for a decided login. Both say ``user=``, with a name that :func:`can_be_told`."""
    match reason.verdict:
        case Verdict.ACCEPTED:
            return b"OK\t%d\tuser=%b\n" % (request_id, name)
        case Verdict.REJECTED:
            return b"FAIL\t%d\tuser=%b\t%b%b\n" % (request_id, name, _REJECTED, _CODES.get(reason, b""))
        case Verdict.UNAVAILABLE:  # pragma: no branch - there are three
            return b"FAIL\t%d\tuser=%b\t%b\ttemp\tcode=temp_fail\n" % (request_id, name, _UNAVAILABLE)


def refusal(request_id: int) -> bytes:
    """``FAIL`` for a request that gave no login to decide."""
    return b"FAIL\t%d\t%b\n" % (request_id, _REJECTED)


def bad_base64(request_id: int, which: str) -> bytes:
    """``FAIL`` for a response that cannot be decoded; ``which`` is ``initial`` or ``continued``."""
    return b"FAIL\t%d\tcode=invalid_base64\treason=Invalid base64 data in %b response\n" % (request_id, which.encode())


def no_such_request(request_id: int) -> bytes:
    """``FAIL`` for a CONT of a request that is unknown or was forgotten."""
    return b"FAIL\t%d\treason=Authentication request timed out\n" % request_id
