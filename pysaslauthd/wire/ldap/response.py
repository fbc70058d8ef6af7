"""LDAP responses (RFC 4511): octets cut into messages, messages decoded by ldap3, their parts read.

ldap3's fast decoder takes 9 µs a message and bounds nothing: the size of a message is bounded here, and
whatever the decoder raises on malformed octets becomes a ProtocolError.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ldap3.protocol.rfc4511 import LDAPMessage
from ldap3.utils.asn1 import decode_message_fast
from pyasn1.codec.ber import decoder

from pysaslauthd.errors import ProtocolError

MAX_MESSAGE = 4 * 1024 * 1024
"""Octets of one response at most. A user's entry is some kB, a group of 10,000 DNs about 1 MB."""

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
    try:
        decoded = decode_message_fast(message)
        response = Response(decoded["messageID"], decoded["protocolOp"], decoded["payload"], decoded["controls"])
    except Exception as error:  # noqa: BLE001 - the fast decoder raises whatever malformed octets lead to
        return _decode_bind_referral(message, error)
    if type(response.message_id) is not int or type(response.operation) is not int:
        raise ProtocolError("the server's answer does not decode")
    return response


def _decode_bind_referral(message: bytes, cause: Exception) -> Response:
    """A bind answered with a referral, which the fast decoder does not know; any other message is malformed."""
    try:
        slow, rest = decoder.decode(message, asn1Spec=LDAPMessage())
        component = slow["protocolOp"]["bindResponse"]
        payload = [
            (0, False, 10, int(component["resultCode"])),
            (0, False, 4, bytes(component["matchedDN"])),
            (0, False, 4, bytes(component["diagnosticMessage"])),
            (2, True, 3, [(0, False, 4, bytes(uri)) for uri in component["referral"]]),
        ]
    except Exception:  # noqa: BLE001 - pyasn1 raises more than its own errors
        rest = b"?"
    if rest:
        raise ProtocolError("the server's answer does not decode") from cause
    return Response(int(slow["messageID"]), BIND_RESPONSE, payload, None)


def entry(response: Response) -> tuple[bytes, dict[str, list[bytes]]]:
    """DN and attributes of a search result entry (RFC 4511 section 4.5.2), the names in lower case.

    :raises ProtocolError: it is malformed.
    """
    try:
        dn, attributes = response.payload
        return dn[3], {
            name[3].decode().lower(): [value[3] for value in values[3]]
            for name, values in (a[3] for a in attributes[3])
        }
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a search entry that does not decode") from error


def result(response: Response) -> Result:
    """The LDAPResult in an answer.

    :raises ProtocolError: there is none.
    """
    try:
        code, _matched, message, *more = response.payload
        referrals = [uri[3].decode() for tag in more if tag[0] == 2 and tag[2] == 3 for uri in tag[3]]
        if type(code[3]) is not int:
            raise ProtocolError("an answer without a result code")
        return Result(code[3], message[3].decode(errors="backslashreplace"), tuple(referrals))
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a result that does not decode") from error


def controls(response: Response) -> dict[str, bytes]:
    """The answer's control values by OID; empty where a control has none.

    :raises ProtocolError: they are malformed.
    """
    try:
        return {
            control[3][0][3].decode(): control[3][-1][3] if control[3][-1][2] == 4 and len(control[3]) > 1 else b""
            for control in response.controls or ()
        }
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a control that does not decode") from error


def extended_value(response: Response) -> bytes:
    """The value of an extended response (RFC 4511 section 4.12), empty where there is none."""
    values = [tag[3] for tag in response.payload if tag[0] == 2 and tag[2] == 11]
    return values[0] if values and isinstance(values[0], bytes) else b""


def references(response: Response) -> tuple[str, ...]:
    """The URIs of a search result reference (RFC 4511 section 4.5.3).

    :raises ProtocolError: it is malformed.
    """
    try:
        return tuple(uri[3].decode() for uri in response.payload)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ProtocolError("a search reference that does not decode") from error
