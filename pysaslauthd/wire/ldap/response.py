"""LDAP responses (RFC 4511): octets cut into messages, messages decoded by ldap3, their parts read.

ldap3's fast decoder takes 9 µs a message and bounds nothing. So the size of a message is bounded here, its
elements are checked to lie within each other, and whatever the decoder raises becomes a ProtocolError.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ldap3.protocol.rfc4511 import LDAPMessage
from ldap3.utils.asn1 import decode_message_fast
from pyasn1.codec.ber import decoder

from pysaslauthd.errors import ProtocolError

MAX_MESSAGE = 256 * 1024
"""Octets of one response at most. The attributes that are asked for take some kB; decoding this many takes 0.2 s."""

_PRIMITIVE = frozenset({0x01, 0x02, 0x04, 0x0A, 0x87, 0x8A, 0x8B})
"""Tags of the elements of a response that hold no others: boolean, integer, octets, enumeration, SASL
credentials, name and value of an extended response."""

BIND_RESPONSE = 1
SEARCH_ENTRY = 4
SEARCH_DONE = 5
COMPARE_RESPONSE = 15
SEARCH_REFERENCE = 19
EXTENDED_RESPONSE = 24


class Response(NamedTuple):
    """One message from the server, with its parts still in ldap3's form; the functions below read them."""

    message_id: int
    operation: int
    payload: Any
    controls: Any


SearchEntry = tuple[bytes, dict[str, list[bytes]], dict[str, bytes]]
"""A DN, the attributes' values by lower-case name, the control values by OID."""


class Result(NamedTuple):
    """An LDAPResult (RFC 4511 section 4.1.9)."""

    code: int
    message: str
    referrals: tuple[str, ...]


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
    _check_nesting(message)
    try:
        decoded = decode_message_fast(message)
        response = Response(decoded["messageID"], decoded["protocolOp"], decoded["payload"], decoded["controls"])
    except Exception as error:  # noqa: BLE001 - the fast decoder raises whatever malformed octets lead to
        return _decode_referral(message, error)
    if type(response.message_id) is not int or type(response.operation) is not int:
        raise ProtocolError("the server's answer does not decode")
    return response


def _check_nesting(message: bytes) -> None:
    """Refuse an element that reaches beyond the one around it.

    The fast decoder would decode the octets beyond once for each of the two, theirs again, and so on: 100
    octets take it hours.
    """
    around: list[int] = []
    end = len(message)
    at = 0
    try:
        while True:
            tag, length = message[at], message[at + 1]
            at += 2
            if length > 0x7F:
                octets = length & 0x7F
                length = int.from_bytes(message[at : at + octets], "big")
                at += octets
            if at + length > end:
                break
            if tag & 0x20 and length:
                around.append(end)
                end = at + length
                continue
            if not tag & 0x20 and tag not in _PRIMITIVE:
                break
            at += length
            while at == end:
                if not around:
                    return
                end = around.pop()
    except IndexError:
        pass
    raise ProtocolError("the server's answer does not decode")


def _decode_referral(message: bytes, cause: Exception) -> Response:
    """A bind or an extended request answered with a referral, which the fast decoder does not know there.

    :raises ProtocolError: any other message that it could not decode.
    """
    try:
        slow, rest = decoder.decode(message, asn1Spec=LDAPMessage())
        operation = slow["protocolOp"]
        component = operation.getComponent()
        payload = [
            (0, False, 10, int(component["resultCode"])),
            (0, False, 4, bytes(component["matchedDN"])),
            (0, False, 4, bytes(component["diagnosticMessage"])),
            (2, True, 3, [(0, False, 4, bytes(uri)) for uri in component["referral"]]),
        ]
        kind = {"bindResponse": BIND_RESPONSE, "extendedResp": EXTENDED_RESPONSE}[operation.getName()]
        number = int(slow["messageID"])
    except Exception:  # noqa: BLE001 - pyasn1 raises more than its own errors
        rest = b"?"
    if rest:
        raise ProtocolError("the server's answer does not decode") from cause
    return Response(number, kind, payload, None)


def entry(response: Response) -> SearchEntry:
    """DN, attributes and controls of a search result entry (RFC 4511 section 4.5.2).

    :raises ProtocolError: it is malformed.
    """
    try:
        dn, listed = response.payload
        attributes: dict[str, list[bytes]] = {}
        for attribute in listed[3]:
            name, values = attribute[3]
            attributes[name[3].decode().lower()] = [_octets(value) for value in values[3]]
        return _octets(dn), attributes, controls(response) if response.controls else {}
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a search entry that does not decode") from error


def result(response: Response) -> Result:
    """The LDAPResult in an answer.

    :raises ProtocolError: there is none.
    """
    try:
        code, _matched, message, *more = response.payload
        if code[2] != 10 or type(code[3]) is not int:
            raise ProtocolError("an answer without a result code")
        text = _octets(message).decode(errors="backslashreplace")
        if not more:
            return Result(code[3], text, ())
        referrals = [_octets(uri).decode() for tag in more if tag[0] == 2 and tag[2] == 3 for uri in tag[3]]
        return Result(code[3], text, tuple(referrals))
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a result that does not decode") from error


def controls(response: Response) -> dict[str, bytes]:
    """The answer's control values by OID; empty where a control has none.

    :raises ProtocolError: they are malformed.
    """
    found: dict[str, bytes] = {}
    try:
        for control in response.controls or ():
            oid, *more = control[3]
            found[_octets(oid).decode()] = _octets(more[-1]) if more and more[-1][2] == 4 else b""
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a control that does not decode") from error
    return found


def extended_value(response: Response) -> bytes:
    """The value of an extended response (RFC 4511 section 4.12), empty where there is none."""
    if response.operation != EXTENDED_RESPONSE:
        return b""
    values: list[bytes] = [tag[3] for tag in response.payload if tag[0] == 2 and tag[2] == 11]
    return values[0] if values else b""


def references(response: Response) -> tuple[str, ...]:
    """The URIs of a search result reference (RFC 4511 section 4.5.3).

    :raises ProtocolError: it is malformed.
    """
    try:
        return tuple(_octets(uri).decode() for uri in response.payload)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a search reference that does not decode") from error


def _octets(element: Any) -> bytes:
    """The octets of an OCTET STRING in ldap3's form.

    :raises TypeError: it is something else.
    """
    if element[2] != 4 or type(element[3]) is not bytes:
        raise TypeError("not an octet string")
    octets: bytes = element[3]
    return octets
