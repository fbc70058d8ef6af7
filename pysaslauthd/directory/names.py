"""The names of entries under which a change is told and a cached login is found: one name for all spellings of a DN."""

from __future__ import annotations

import re

from pysaslauthd.directory.rules import dn_of

# A DN whose one normal form is itself in lower case, as servers write nearly all: 1 µs in place of 45.
_PLAIN = re.compile(rb"[A-Za-z][\w-]*=[\w.@:/-]+(?: [\w.@:/-]+)*(?:,[A-Za-z][\w-]*=[\w.@:/-]+(?: [\w.@:/-]+)*)*")
_SPECIAL = re.compile(rb"[,+=\\]")


def name_of(dn: bytes) -> bytes:
    """The name of the entry with this DN (RFC 4514), however that is written; empty for the root's.

    What ldap3 does not take for a DN has its own lower case for a name: a server writes it always alike.
    """
    if _PLAIN.fullmatch(dn):
        return dn.lower()
    try:
        parsed = dn_of(dn)
    except ValueError:
        return dn.lower()
    return b",".join(b"+".join(kind.encode() + b"=" + _escaped(value) for kind, value in rdn) for rdn in parsed)


def _escaped(value: bytes) -> bytes:
    return _SPECIAL.sub(lambda match: b"\\%02x" % match[0][0], value)


def name_of_uuid(uuid: bytes) -> bytes:
    """The name of the entry with this entryUUID (RFC 4530), of 16 octets or as text. It is no DN's."""
    return (uuid.hex().encode() if len(uuid) == 16 else uuid.replace(b"-", b"")).lower()


def within(name: bytes, base: bytes) -> bool:
    """Whether a DN's name is that of an entry of the subtree below ``base``, a name too."""
    return name == base or not base or name.endswith(b"," + base)
