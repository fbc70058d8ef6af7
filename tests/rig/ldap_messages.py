"""LDAP messages from the server's side: requests decoded into plain values, answers encoded (RFC 4511).

BER by hand, because ldap3's types cannot decode a filter, and because the other side ought to have nothing in common
with the encoder under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

START_TLS = b"1.3.6.1.4.1.1466.20037"
WHO_AM_I = b"1.3.6.1.4.1.4203.1.11.3"
HUGE_LENGTH = b"\x30\x84\x7f\xff\xff\xff"
"""The head of a message of almost 2 GiB."""
GARBAGE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"

_RESPONSES = {"bind": 0x61, "search": 0x65, "compare": 0x6F, "extended": 0x78}


async def read(reader: asyncio.StreamReader) -> bytes:
    """One whole message; raises asyncio.IncompleteReadError at the end of the stream."""
    head = await reader.readexactly(2)
    length = head[1]
    if length & 0x80:
        octets = await reader.readexactly(length & 0x7F)
        head += octets
        length = int.from_bytes(octets, "big")
    return head + await reader.readexactly(length)


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element in a row; AssertionError unless they fill the octets exactly."""
    parts, at = [], 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(data[at : at + octets], "big")
            at += octets
        parts.append((tag, data[at : at + length]))
        at += length
    assert at == len(data), f"an element is longer than what holds it: {data!r}"
    return parts


def _values(data: bytes) -> list[bytes]:
    return [content for _, content in _parts(data)]


def decode(message: bytes) -> tuple[int, str, dict[str, Any], dict[str, bytes]]:
    """messageID, operation, body (by RFC 4511's names; strings are bytes) and controls (by OID) of a request."""
    ((outer, content),) = _parts(message)
    assert outer == 0x30, f"not an LDAPMessage: {message!r}"
    (_, message_id), (tag, body), *rest = _parts(content)
    controls = {oid.decode(): more[-1] if more else b"" for oid, *more in map(_values, _values(b"".join(_only(rest))))}
    operation, fields = _operation(tag, body)
    return int.from_bytes(message_id, "big"), operation, fields, controls


def _only(rest: list[tuple[int, bytes]]) -> list[bytes]:
    assert all(tag == 0xA0 for tag, _ in rest), f"not controls: {rest}"
    return [content for _, content in rest]


def _operation(tag: int, body: bytes) -> tuple[str, dict[str, Any]]:
    match tag:
        case 0x60:
            (_, version), (_, name), (kind, secret) = _parts(body)
            fields: dict[str, Any] = {"version": version[0], "name": name}
            if kind == 0x80:
                return "bind", {**fields, "simple": secret}
            mechanism, *credentials = _values(secret)
            return "bind", {**fields, "mechanism": mechanism, "credentials": b"".join(credentials)}
        case 0x63:
            base, scope, deref, size, time, types_only, (query, inner), (_, wanted) = _parts(body)
            numbers = (int.from_bytes(content, "big") for _, content in (scope, deref, size, time, types_only))
            names = ("scope", "derefAliases", "sizeLimit", "timeLimit", "typesOnly")
            fields = {"baseObject": base[1], **dict(zip(names, numbers, strict=True))}
            return "search", {**fields, "filter": _filter(query, inner), "attributes": _values(wanted)}
        case 0x6E:
            entry, assertion = _values(body)
            return "compare", {"entry": entry, "ava": tuple(_values(assertion))}
        case 0x77:
            name, *value = _values(body)
            return "extended", {"requestName": name, "requestValue": b"".join(value)}
        case 0x42:
            return "unbind", {}
        case 0x50:
            return "abandon", {"messageID": int.from_bytes(body, "big")}
    raise AssertionError(f"the fake does not know the operation {tag:#x}")


def _filter(tag: int, inner: bytes) -> tuple[str, Any]:
    match tag:
        case 0xA0 | 0xA1:
            return ("and" if tag == 0xA0 else "or"), [_filter(*part) for part in _parts(inner)]
        case 0xA2:
            return "not", _filter(*_parts(inner)[0])
        case 0xA3:
            return "equalityMatch", tuple(_values(inner))
        case 0x87:
            return "present", inner
        case 0xA9:
            names = {0x81: "matchingRule", 0x82: "type", 0x83: "matchValue", 0x84: "dnAttributes"}
            return "extensibleMatch", {names[part]: content for part, content in _parts(inner)}
    raise AssertionError(f"the fake does not know the filter {tag:#x}")


def matches(query: tuple[str, Any], attributes: Mapping[str, Sequence[bytes]]) -> bool:
    """Whether an entry matches a decoded filter; values compare without regard to case."""
    kind, value = query
    held = {name.lower().encode(): values for name, values in attributes.items()}
    match kind:
        case "and":
            return all(matches(part, attributes) for part in value)
        case "or":
            return any(matches(part, attributes) for part in value)
        case "not":
            return not matches(value, attributes)
        case "present":
            return value.lower() in held
        case "extensibleMatch":  # whatever the rule, as if it were equality's
            value = value["type"], value["matchValue"]
    name, wanted = value
    return wanted.lower() in [one.lower() for one in held.get(name.lower(), [])]


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    octets = (len(content).bit_length() + 7) // 8
    length = bytes([len(content)]) if len(content) < 0x80 else bytes([0x80 | octets]) + len(content).to_bytes(octets)
    return bytes([tag]) + length + content


def _string(text: str | bytes, tag: int = 0x04) -> bytes:
    return _element(tag, text.encode() if isinstance(text, str) else text)


def _message(message_id: int, operation: bytes, controls: Mapping[str, bytes] | None = None) -> bytes:
    listed = [_element(0x30, _string(oid), _string(value)) for oid, value in (controls or {}).items()]
    number = _element(0x02, message_id.to_bytes(message_id.bit_length() // 8 + 1))
    return _element(0x30, number, operation, _element(0xA0, *listed) if listed else b"")


def result(
    operation: str,
    message_id: int,
    code: int,
    text: str = "",
    referrals: Sequence[str] = (),
    controls: Mapping[str, bytes] | None = None,
    *,
    response_name: str | bytes = "",
    response_value: str | bytes = "",
) -> bytes:
    """The (last) response to an operation: result code, diagnostic message, referral URIs, controls by OID."""
    parts = [_element(0x0A, bytes([code])), _string(""), _string(text)]
    if referrals:
        parts.append(_element(0xA3, *map(_string, referrals)))
    if response_name:
        parts.append(_string(response_name, 0x8A))
    if response_value:
        parts.append(_string(response_value, 0x8B))
    return _message(message_id, _element(_RESPONSES[operation], *parts), controls)


def entry(
    message_id: int, dn: str, attributes: Mapping[str, Sequence[bytes]], controls: Mapping[str, bytes] | None = None
) -> bytes:
    """A search result entry."""
    listed = [
        _element(0x30, _string(name), _element(0x31, *map(_string, values))) for name, values in attributes.items()
    ]
    return _message(message_id, _element(0x64, _string(dn), _element(0x30, *listed)), controls)


def intermediate(message_id: int, name: str, value: bytes) -> bytes:
    """An intermediate response."""
    return _message(message_id, _element(0x79, _string(name, 0x80), _string(value, 0x81)))


def reference(message_id: int, *uris: str) -> bytes:
    """A search result reference; its URIs are alternatives."""
    return _message(message_id, _element(0x73, *map(_string, uris)))


def disconnection(code: int = 52, text: str = "the server is going away") -> bytes:
    """An unsolicited notice of disconnection (RFC 4511 section 4.4.1)."""
    return result("extended", 0, code, text, response_name="1.3.6.1.4.1.1466.20036")
