"""LDAP responses (RFC 4511): octets cut into messages, messages into their parts.

The size of a message is bounded, every element must lie within the one around it, and whatever is not as the RFC
has it is a ProtocolError.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap.ber import ENUMERATED, OCTETS, SEQUENCE, SET, elements, integer, octets

MAX_MESSAGE = 256 * 1024
"""Octets of one response at most. The attributes that are asked for take some kB."""

SEARCH_ENTRY = 4
SEARCH_DONE = 5
SEARCH_REFERENCE = 19
EXTENDED_RESPONSE = 24

_APPLICATION = 0x60  # class and form of every response's tag
_CONTROLS = 0xA0
_REFERRAL = 0xA3
_EXTENDED_VALUE = 0x8B


NO_CONTROLS: dict[str, bytes] = {}
"""Those of most messages; never changed."""


class Response(NamedTuple):
    """One message from the server; the functions below read its parts."""

    message_id: int
    operation: int
    """The number of its protocolOp's tag."""
    payload: bytes
    """The contents of its protocolOp."""
    controls: bytes
    """The contents of its controls, empty where it has none."""


class SearchEntry(NamedTuple):
    """An entry of a search result: its DN, its attributes' values by lower-case name, control values by OID."""

    dn: bytes
    attributes: dict[str, list[bytes]]
    controls: dict[str, bytes] = NO_CONTROLS


class Result(NamedTuple):
    """An LDAPResult (RFC 4511 section 4.1.9)."""

    code: int
    message: str
    referrals: tuple[str, ...]


_SUCCESS = b"\x0a\x01\x00\x04\x00\x04\x00"
_FOUR_OCTETS = 0x0204  # the tag and length of such a messageID
_SHORT = struct.Struct(">BBHiBB")
"""The head of a message of at most 129 octets: its tag and length, those of a messageID of four octets as ours are,
the messageID, the operation's tag and length."""
SUCCEEDED = Result(0, "", ())
"""Success, without a word."""


def split(data: bytes | bytearray, start: int) -> int:
    """Where the message that begins at ``start`` ends, or 0 while more octets are needed to know.

    The end may lie beyond the data.

    :raises ProtocolError: not an LDAPMessage, or one over MAX_MESSAGE octets.
    """
    have = len(data) - start
    if have < 2:
        return 0
    if data[start] != 0x30:
        raise ProtocolError("the server's answer is not LDAP")
    length = data[start + 1]
    if length < 0x80:
        return start + 2 + length
    octets = length & 0x7F
    if not 1 <= octets <= 8:
        raise ProtocolError("the server's answer is not LDAP")
    if have < 2 + octets:
        return 0
    length = int.from_bytes(data[start + 2 : start + 2 + octets], "big")
    if length > MAX_MESSAGE:
        raise ProtocolError(f"the server announces an answer of {length} octets; the limit is {MAX_MESSAGE}")
    return start + 2 + octets + length


def decode(message: bytes) -> Response:
    """One whole message.

    :raises ProtocolError: it does not decode.
    """
    size = len(message)
    if 10 <= size < 130:
        tag, length, number_head, number, operation, contents = _SHORT.unpack_from(message)
        if (
            tag == SEQUENCE
            and length == size - 2
            and number_head == _FOUR_OCTETS
            and number >= 0
            and operation & 0xE0 == _APPLICATION
            and contents == size - 10
        ):
            # Not Response(…), which is a call of Python.
            return tuple.__new__(Response, (number, operation & 0x1F, message[10:], b""))
    whole = elements(message)
    if len(whole) != 1:
        raise ProtocolError("a message and something behind it")
    parts = elements(octets(whole[0], SEQUENCE))
    if not 2 <= len(parts) <= 3:
        raise ProtocolError("a message that does not decode")
    tag, payload = parts[1]
    if tag & 0xE0 != _APPLICATION:
        raise ProtocolError("a message without an answer")
    controls = octets(parts[2], _CONTROLS) if len(parts) == 3 else b""
    return Response(integer(parts[0]), tag & 0x1F, payload, controls)


def entry(response: Response) -> SearchEntry:
    """DN, attributes and controls of a search result entry (RFC 4511 section 4.5.2).

    :raises ProtocolError: it is malformed.
    """
    try:
        (dn_tag, dn), (list_tag, listed) = elements(response.payload)
        attributes: dict[str, list[bytes]] = {}
        for tag, attribute in elements(listed):
            (name_tag, name), (set_tag, values) = elements(attribute)
            found = attributes[name.decode().lower()] = []
            for value_tag, value in elements(values):
                found.append(value)
                if value_tag != OCTETS:
                    raise ProtocolError("a value that is no octet string")
            if tag != SEQUENCE or name_tag != OCTETS or set_tag != SET:
                raise ProtocolError("an attribute that does not decode")
    except ValueError:  # more or fewer elements than there must be, or a name that is not UTF-8
        raise ProtocolError("a search entry that does not decode") from None
    if dn_tag != OCTETS or list_tag != SEQUENCE:
        raise ProtocolError("a search entry that does not decode")
    return SearchEntry(dn, attributes, controls(response) if response.controls else {})


def result(response: Response) -> Result:
    """The LDAPResult in an answer.

    :raises ProtocolError: there is none.
    """
    if response.payload == _SUCCESS:
        return SUCCEEDED
    code, _matched, message, *more = _result_parts(response)
    referrals = [octets(uri) for tag, contents in more if tag == _REFERRAL for uri in elements(contents)]
    text = octets(message).decode(errors="backslashreplace")
    return Result(integer(code, ENUMERATED), text, tuple(map(_text, referrals)))


def controls(response: Response) -> dict[str, bytes]:
    """The answer's control values by OID; empty where a control has none.

    :raises ProtocolError: they are malformed.
    """
    found: dict[str, bytes] = {}
    for control in elements(response.controls):
        parts = elements(octets(control, SEQUENCE))
        if not parts:
            raise ProtocolError("a control without an OID")
        tag, value = parts[-1]
        found[_text(octets(parts[0]))] = value if tag == OCTETS and len(parts) > 1 else b""
    return found


def extended_value(response: Response) -> bytes:
    """The value of an extended response (RFC 4511 section 4.12), empty where there is none.

    :raises ProtocolError: it is malformed.
    """
    if response.operation != EXTENDED_RESPONSE:
        return b""
    return next((value for tag, value in _result_parts(response) if tag == _EXTENDED_VALUE), b"")


def references(response: Response) -> tuple[str, ...]:
    """The URIs of a search result reference (RFC 4511 section 4.5.3).

    :raises ProtocolError: it is malformed.
    """
    return tuple(_text(octets(uri)) for uri in elements(response.payload))


def _result_parts(response: Response) -> list[tuple[int, bytes]]:
    parts = elements(response.payload)
    if len(parts) < 3:
        raise ProtocolError("an answer without a result")
    return parts


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a name or URI that is not UTF-8") from None
