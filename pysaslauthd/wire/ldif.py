"""LDIF content records (RFC 2849): entries as OpenLDAP's slapcat or 389 DS's db2ldif write them.

Wider than the RFC in one point, as every LDAP server's own reader is: a value may hold raw UTF-8.
Change records and values in other files are refused. No error quotes a line, for it may hold a password.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from pysaslauthd.errors import ConfigError

# RFC 4512 section 2.5: a name or an OID, then options.
_DESCRIPTION = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*")


class Record(NamedTuple):
    """One entry, the line of its ``dn:`` (from 1), and its attributes' values by lower-case description."""

    line: int
    dn: bytes
    attributes: dict[str, list[bytes]]


def parse(data: bytes) -> Iterator[Record]:
    """The entries of a whole file, in its order.

    :raises ConfigError: with the line; what came before it has been yielded.
    """
    record: Record | None = None
    names: dict[bytes, str] = {}
    first = True
    for line, text in _unfolded(data):
        if not text:
            if record is not None:
                yield _whole(record)
            record = None
            continue
        name, colon, rest = text.partition(b":")
        if not colon:
            raise ConfigError("there is no colon; a line that continues the one before begins with a space", line=line)
        description = names.get(name)
        if description is None:
            description = names[name] = _description(name, line)
        value = _value(rest, line)
        if record is not None:
            if description in ("changetype", "control"):
                raise ConfigError("this is a change record; the file must hold whole entries", line=line)
            if description == "dn":
                raise ConfigError("a second dn in one entry; a blank line is missing before it", line=line)
            record.attributes.setdefault(description, []).append(value)
        elif description == "dn":
            record = Record(line, value, {})
        elif first and description == "version":
            if value != b"1":
                raise ConfigError("only LDIF of version 1 is known", line=line)
        else:
            raise ConfigError("an entry must begin with dn:", line=line)
        first = False
    if record is not None:
        yield _whole(record)


def _unfolded(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each line with the lines that continue it, and its number; an empty one between entries; no comments."""
    start, pieces = 0, list[bytes]()
    for number, line in enumerate(data.split(b"\n"), 1):
        piece = line[:-1] if line.endswith(b"\r") else line
        if piece.startswith(b" "):
            if not pieces:
                raise ConfigError("a line that begins with a space continues nothing", line=number)
            pieces.append(piece[1:])
            continue
        if pieces and not pieces[0].startswith(b"#"):
            yield start, pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if piece:
            start, pieces = number, [piece]
        else:
            pieces = []
            yield number, b""
    if pieces and not pieces[0].startswith(b"#"):
        yield start, b"".join(pieces)


def _description(name: bytes, line: int) -> str:
    if not _DESCRIPTION.fullmatch(name):
        raise ConfigError("what stands before the colon is not the name of an attribute", line=line)
    return name.decode().lower()


def _value(rest: bytes, line: int) -> bytes:
    if rest.startswith(b":"):
        try:
            return binascii.a2b_base64(rest[1:].strip(b" "), strict_mode=True)
        except binascii.Error:
            raise ConfigError("what follows the two colons is not base64", line=line) from None
    if rest.startswith(b"<"):
        raise ConfigError("a value in another file (:<) is not read; write it here, in base64 after ::", line=line)
    return rest.lstrip(b" ")


def _whole(record: Record) -> Record:
    if not record.attributes:
        raise ConfigError("an entry without attributes", line=record.line)
    return record
