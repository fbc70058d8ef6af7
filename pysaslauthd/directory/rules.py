"""How values are compared: matching rules (RFC 4517) for a directory without a schema.

A rule turns a value into something that is equal for two values exactly where the rule calls them equal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable

from ldap3.core.exceptions import LDAPInvalidDnError
from ldap3.utils.dn import parse_dn

Dn = tuple[tuple[tuple[str, bytes], ...], ...]
"""A DN, its RDNs from the entry's own to the suffix; ``Dn[1:]`` is the parent. ``()`` is the root."""
Rule = Callable[[bytes], Hashable]

_ESCAPED = re.compile(rb'\\([0-9A-Fa-f]{2}|[ "#+,;<=>\\])')


def case_ignore(value: bytes) -> bytes:
    """The rule caseIgnoreMatch, its preparation (RFC 4518) simplified: NFKC, case folded, runs of blanks one space.

    Octets that are not UTF-8 stay as they are.
    """
    if value.isascii():
        return b" ".join(value.lower().split())
    try:
        text = unicodedata.normalize("NFKC", value.decode())
    except UnicodeDecodeError:
        return value
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split()).encode()


def octet_string(value: bytes) -> bytes:
    """The rule octetStringMatch."""
    return value


def dn_of(text: bytes) -> Dn:
    """A DN's text (RFC 4514), its values by :func:`case_ignore`.

    :raises ValueError: it is not a DN.
    """
    if not text:
        return ()
    # Every escape as hex: ldap3 takes an escaped blank at the end of a value for a lone backslash.
    uniform = _ESCAPED.sub(lambda match: match[0] if len(match[1]) == 2 else b"\\%02x" % match[1][0], text)
    try:
        avas = parse_dn(uniform.decode(), strip=True)
    except LDAPInvalidDnError as error:
        raise ValueError(str(error)) from error
    rdns, rdn = list[tuple[tuple[str, bytes], ...]](), list[tuple[str, bytes]]()
    for kind, escaped, separator in avas:
        value = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), escaped.encode())
        rdn.append((kind.lower(), case_ignore(value)))
        if separator != "+":
            rdns.append(tuple(sorted(rdn)))
            rdn = []
    return tuple(rdns)


def distinguished_name(value: bytes) -> Hashable:
    """The rule distinguishedNameMatch; a value that is no DN equals itself alone."""
    try:
        return dn_of(value)
    except ValueError:
        return value


_OTHERS: dict[str, Rule] = {
    "userpassword": octet_string,
    **dict.fromkeys(
        (
            "aliasedobjectname",
            "distinguishedname",
            "entrydn",
            "manager",
            "member",
            "memberof",
            "nsrole",
            "nsroledn",
            "owner",
            "roleoccupant",
            "secretary",
            "seealso",
            "uniquemember",
        ),
        distinguished_name,
    ),
}


def rule_of(description: str) -> Rule:
    """The equality rule of an attribute, by its lower-case description: :func:`case_ignore` for most."""
    return _OTHERS.get(description.partition(";")[0], case_ignore)
