"""The values of controls that tell about an account: octets to values.

The types are a handful of octets that come with a login, so that a small reader takes the place of pyasn1, which
would need 100 µs for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pysaslauthd.errors import ProtocolError

ACCOUNT_USABILITY = "1.3.6.1.4.1.42.2.27.9.5.8"
"""On a search and on its entries: whether an account may be used, by the server's own policy.

Described by Oracle, known to 389 DS and to OpenLDAP 2.5 with ppolicy.
"""
EFFECTIVE_RIGHTS = "1.3.6.1.4.1.42.2.27.9.5.2"
"""On a search: what an identity may do with each attribute asked for (draft-ietf-ldapext-acl-model, 389 DS)."""
EXPIRED = "2.16.840.1.113730.3.4.4"
"""On the answer to a bind: the password has expired or must be changed (draft-vchu-ldap-pwd-policy)."""


class PasswordPolicy(NamedTuple):
    """A PasswordPolicyResponseValue (draft-behera-ldap-password-policy section 6.2), as far as it matters here.

    ``error`` is 0 passwordExpired, 1 accountLocked, 2 changeAfterReset, and others about changes of passwords; None
    where there is none. ``grace`` is how many more binds an expired password is good for, None where it is not told.
    """

    error: int | None
    grace: int | None


class Usability(NamedTuple):
    """An account usability response. What an account is unusable for may be none of the three reasons.

    ``unlock`` is the number of seconds until too many tries are forgotten, 0 or less where that is not told.
    """

    available: bool
    inactive: bool = False
    reset: bool = False
    expired: bool = False
    unlock: int = 0


def password_policy(value: bytes) -> PasswordPolicy:
    """Decode a password policy response control.

    :raises ProtocolError: it is malformed.
    """
    elements = list(_elements(value))
    if len(elements) != 1 or elements[0][0] != _SEQUENCE:
        raise ProtocolError("a password policy control that does not decode")
    error = grace = None
    for tag, content in _elements(elements[0][1]):
        if tag == _CONSTRUCTED:
            for kind, number in _elements(content):
                if kind == _CONTEXT + 1:
                    grace = _integer(number)
        elif tag == _CONTEXT + 1:
            error = _integer(content)
    return PasswordPolicy(error, grace)


def usability(value: bytes) -> Usability:
    """Decode an account usability response control.

    :raises ProtocolError: it is malformed.
    """
    elements = list(_elements(value))
    if len(elements) == 1:
        tag, content = elements[0]
        if tag == _CONTEXT:
            _integer(content)
            return Usability(available=True)
        if tag == _CONSTRUCTED + 1:
            more = dict(_elements(content))
            inactive, reset, expired = (any(more.get(_CONTEXT + number, b"")) for number in range(3))
            return Usability(False, inactive, reset, expired, _integer(more.get(_CONTEXT + 4, b"\0")))
    raise ProtocolError("an account usability control that does not decode")


_SEQUENCE = 0x30
_CONTEXT = 0x80
_CONSTRUCTED = 0xA0
_INDEFINITE = 0x80
"""The first octet of a length that is told by an end mark, which LDAP does not allow (RFC 4511 section 5.1)."""


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the elements in a row. Lengths may be longer than they need be, as 389 DS writes them."""
    at = 0
    while at < len(data):
        start = at + 2
        length = data[at + 1] if start <= len(data) else _INDEFINITE
        if length == _INDEFINITE:
            raise ProtocolError("a control that does not decode")
        if length > _INDEFINITE:
            start += length - _INDEFINITE
            length = int.from_bytes(data[at + 2 : start], "big")
        end = start + length
        if end > len(data):
            raise ProtocolError("a control that does not decode")
        yield data[at], data[start:end]
        at = end


def _integer(content: bytes) -> int:
    if not 1 <= len(content) <= 8:
        raise ProtocolError("a control that does not decode")
    return int.from_bytes(content, "big", signed=True)
