"""Responses: cut in any pieces, decoded or refused; values made by an encoder that is not ldap3's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import response
from pysaslauthd.wire.ldap.response import MAX_MESSAGE, Response, Result
from rig import ldap_messages as messages

ID = 0x01020304
DN = "uid=penguin,ou=People,dc=hoge,dc=cxm"
ENTRY = messages.entry(ID, DN, {"userPassword": [b"{SSHA}x", b"\xff\0"], "MAIL": [], "cn;lang-de": [b"P"]})
LONG_ENTRY = messages.entry(ID, DN, {"jpegPhoto": [bytes(70_000)]})
DONE = messages.result("search", ID, 0)
REFERRALS = ["ldap://b.hoge.cxm/dc=hoge", "ldaps://c.hoge.cxm/"]
BIND_REFERRAL = messages.result("bind", ID, 10, "elsewhere", REFERRALS)
WHO = messages.result("extended", ID, 0, response_name="1.2.3")
POLICY = {"1.3.6.1.4.1.42.2.27.8.5.1": b"\x30\x03\x81\x01\x01", "2.16.840.1.113730.3.4.4": b"0"}
EVERY_KIND = [
    ENTRY,
    DONE,
    BIND_REFERRAL,
    WHO,
    messages.reference(ID, REFERRALS[0]),
    messages.result("search", ID, 10, "no", REFERRALS),
    messages.result("bind", ID, 49, "wrong", controls=POLICY),
    messages.result("compare", ID, 6),
    messages.result("extended", ID, 10, "no", REFERRALS),
    messages.disconnection(),
]


# -- split


@pytest.mark.parametrize("message", [*EVERY_KIND, LONG_ENTRY, b"\x30\x84\0\0\0\x02\x05\0", b"\x30\x88" + bytes(8)])
def test_a_message_ends_where_its_length_says(message: bytes) -> None:
    assert response.split(message, 0) == len(message)
    assert response.split(bytearray(message + DONE), 0) == len(message)
    assert response.split(b"before" + message + DONE, 6) == 6 + len(message)
    for have in range(min(len(message), 12)):
        assert response.split(message[:have], 0) in (0, len(message))
    if len(message) > 12:
        assert response.split(message[:-1], 0) == len(message)


@pytest.mark.parametrize("have", [b"", b"\x30", b"\x30\x82", b"\x30\x82\x01", b"\x30\x84\0\0\0"])
def test_more_octets_are_needed_to_know_the_length(have: bytes) -> None:
    assert response.split(have, 0) == 0


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x30\x80\x02\x01\x01\0\0", "not LDAP"),  # indefinite, which RFC 4511 section 5.1 rules out
        (b"\x30\x89" + bytes(9), "not LDAP"),
        (b"\x30\xff", "not LDAP"),
        (messages.GARBAGE, "not LDAP"),
        (b"\x31\x00", "not LDAP"),
        (messages.HUGE_LENGTH, "2147483647 octets"),
        (b"\x30\x83" + (MAX_MESSAGE + 1).to_bytes(3, "big"), f"{MAX_MESSAGE + 1} octets"),
        (b"\x30\x88" + b"\xff" * 8, "18446744073709551615 octets"),
    ],
)
def test_what_is_no_message_or_too_long_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        response.split(data, 0)


def test_the_longest_message_is_taken() -> None:
    head = b"\x30\x83" + MAX_MESSAGE.to_bytes(3, "big")
    assert response.split(head, 0) == len(head) + MAX_MESSAGE


@given(st.binary(max_size=20), st.integers(0, 25))
def test_any_octets_are_split_or_refused(data: bytes, start: int) -> None:
    with contextlib.suppress(ProtocolError):
        end = response.split(data, start)
        assert end == 0 or start + 2 <= end <= start + 10 + MAX_MESSAGE


# -- decode


def test_an_entry_is_read() -> None:
    decoded = response.decode(ENTRY)
    assert (decoded.message_id, decoded.operation) == (ID, response.SEARCH_ENTRY)
    attributes = {"userpassword": [b"{SSHA}x", b"\xff\0"], "mail": [], "cn;lang-de": [b"P"]}
    assert response.entry(decoded) == (DN.encode(), attributes, {})
    assert response.entry(response.decode(LONG_ENTRY))[1] == {"jpegphoto": [bytes(70_000)]}


def element(tag: int, *contents: bytes) -> bytes:
    octets = b"".join(contents)
    return bytes([tag, len(octets)]) + octets


NAME, VALUE = element(4, b"cn"), element(4, b"P")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([element(2, b"x"), element(0x30)], "a search entry that does not decode"),
        ([element(4, b"x"), element(0x31)], "a search entry that does not decode"),
        ([element(4, b"x")], "a search entry that does not decode"),
        ([element(4, b"x"), element(0x30), element(0x30)], "a search entry that does not decode"),
        ([element(4, b"x"), element(0x30, element(0x30, NAME))], "a search entry that does not decode"),
        ([element(4, b"x"), element(0x30, element(0x30, element(4, b"\xff"), element(0x31)))], "does not decode"),
        ([element(4, b"x"), element(0x30, element(0x31, NAME, element(0x31, VALUE)))], "an attribute that does not"),
        (
            [element(4, b"x"), element(0x30, element(0x30, element(2, b"c"), element(0x31)))],
            "an attribute that does not",
        ),
        ([element(4, b"x"), element(0x30, element(0x30, NAME, element(0x30, VALUE)))], "an attribute that does not"),
        ([element(4, b"x"), element(0x30, element(0x30, NAME, element(0x31, element(2, b"1"))))], "no octet string"),
    ],
)
def test_an_entry_of_another_shape_is_refused(parts: list[bytes], text: str) -> None:
    decoded = response.decode(element(0x30, element(2, b"\1"), element(0x64, *parts)))
    with pytest.raises(ProtocolError, match=text):
        response.entry(decoded)


def test_a_control_without_an_oid_is_refused() -> None:
    message = element(
        0x30, element(2, b"\1"), element(0x64, element(4, b"x"), element(0x30)), element(0xA0, element(0x30))
    )
    with pytest.raises(ProtocolError, match="a control without an OID"):
        response.controls(response.decode(message))


@pytest.mark.parametrize(("operation", "kind"), [("bind", 1), ("search", 5), ("compare", 15), ("extended", 24)])
@pytest.mark.parametrize("referrals", [[], REFERRALS])
def test_a_result_is_read_with_its_referrals(operation: str, kind: int, referrals: list[str]) -> None:
    decoded = response.decode(messages.result(operation, ID, 10, "Größe", referrals))
    assert (decoded.message_id, decoded.operation) == (ID, kind)
    assert response.result(decoded) == Result(10, "Größe", tuple(referrals))


def test_a_message_that_is_not_utf8_is_shown_as_it_can_be() -> None:
    octets = messages.result("bind", ID, 49, "xyz").replace(b"xyz", b"x\xffz")
    assert response.result(response.decode(octets)).message == "x\\xffz"


def test_controls_are_read() -> None:
    assert response.controls(response.decode(messages.result("bind", ID, 49, controls=POLICY))) == POLICY
    assert response.controls(response.decode(DONE)) == {}
    # RFC 4511 section 4.1.11: criticality and value may be absent.
    bare = b"\x30\x1e\x02\x01\x07\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
    bare += b"\xa0\x10\x30\x05\x04\x03" + b"1.2" + b"\x30\x07\x04\x02" + b"1." + b"\x01\x01\xff"
    bare = bare[:1] + bytes([len(bare) - 2]) + bare[2:]
    assert response.controls(response.decode(bare)) == {"1.2": b"", "1.": b""}


def test_a_reference_is_read() -> None:
    assert response.references(response.decode(messages.reference(ID, REFERRALS[0]))) == (REFERRALS[0],)


def test_an_extended_value_is_read() -> None:
    assert response.extended_value(response.decode(WHO)) == b""
    body = b"\x0a\x01\x00\x04\x00\x04\x00\x8b\x06dn:cn=x"[:-1]
    octets = b"\x02\x01\x07\x78" + bytes([len(body)]) + body
    decoded = response.decode(b"\x30" + bytes([len(octets)]) + octets)
    assert response.extended_value(decoded) == b"dn:cn="
    assert response.extended_value(response.decode(DONE)) == b""


def test_a_notice_of_disconnection_is_read() -> None:
    decoded = response.decode(messages.disconnection(52, "going"))
    assert decoded.message_id == 0
    assert response.result(decoded)[:2] == (52, "going")


# -- whatever comes

READERS: list[Callable[[Response], object]] = [
    response.entry,
    response.result,
    response.controls,
    response.references,
    response.extended_value,
]


def typed(value: object) -> bool:
    """Whether a reader's value has the types that it promises, all the way down."""
    match value:
        case Result(code, message, referrals):
            return type(code) is int and type(message) is str and all(type(uri) is str for uri in referrals)
        case (dn, dict() as attributes, dict() as held):
            plain = all(type(v) is bytes for values in attributes.values() for v in values)
            return type(dn) is bytes and plain and typed(held)
        case dict():
            return all(type(oid) is str and type(content) is bytes for oid, content in value.items())
        case tuple():
            return all(type(uri) is str for uri in value)
    return type(value) is bytes


def read_all(octets: bytes) -> None:
    """Decode and read; raises nothing but ProtocolError, which it keeps, and gives nothing but what is promised."""
    with contextlib.suppress(ProtocolError):
        decoded = response.decode(octets)
        assert (type(decoded.message_id), type(decoded.operation)) == (int, int)
        for read in READERS:
            with contextlib.suppress(ProtocolError):
                assert typed(read(decoded)), (read, octets)


@given(st.binary(max_size=60))
@example(b"")
@example(b"\x30\x00")
@example(b"\x30\x06\x02\x01\x01\x04\x01x")
def test_any_octets_decode_or_are_refused(octets: bytes) -> None:
    read_all(octets)
    read_all(b"\x30" + bytes([len(octets)]) + octets)
    with_id = b"\x02\x01\x07" + octets
    read_all(b"\x30" + bytes([len(with_id)]) + with_id)


@st.composite
def elements(draw: st.DrawFn, depth: int = 4) -> bytes:
    """A well nested element of the tags that LDAP uses, in places where it does not."""
    tags = [0x01, 0x02, 0x04, 0x0A, 0x30, 0x31, 0x61, 0x64, 0x65, 0x6F, 0x73, 0x78, 0x87, 0x8A, 0x8B, 0xA0, 0xA3]
    tag = draw(st.sampled_from(tags))
    if tag & 0x20 and depth:
        content = b"".join(draw(st.lists(elements(depth - 1), max_size=4)))
    else:
        content = draw(st.binary(max_size=3))
    return (
        bytes([tag]) + (bytes([len(content)]) if len(content) < 128 else b"\x82" + len(content).to_bytes(2)) + content
    )


@given(elements())
def test_any_elements_in_any_places_decode_or_are_refused(operation: bytes) -> None:
    content = b"\x02\x01\x07" + operation
    octets = b"\x30\x82" + len(content).to_bytes(2) + content
    read_all(octets)
    read_all(operation)


@given(st.sampled_from(EVERY_KIND), st.data())
def test_any_change_of_a_message_decodes_or_is_refused(message: bytes, data: st.DataObject) -> None:
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "end"])):
            case "set":
                changed[at] = data.draw(st.sampled_from([0, 1, 4, 0x30, 0x7F, 0x80, 0x84, 0xFF]) | st.integers(0, 255))
            case "cut":
                del changed[at : at + data.draw(st.integers(1, 4))]
            case "insert":
                changed[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case "end":
                del changed[at:]
        if not changed:
            break
    read_all(bytes(changed))


@pytest.mark.parametrize("message", EVERY_KIND)
def test_trailing_octets_and_every_shortening_are_refused_or_decode(message: bytes) -> None:
    for end in range(len(message)):
        with pytest.raises(ProtocolError):
            response.decode(message[:end])
    with pytest.raises(ProtocolError):
        response.decode(message + b"\0")


def overlapping(units: int, sequence: int = 0x30) -> bytes:
    """A message whose every second element ends within the element around it only as far as its length is not read."""
    body = b""
    for _ in range(units):
        body = bytes([sequence, 2, sequence, len(body)]) + body
    operation = b"\x02\x01\x01\x65" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(operation)]) + operation


@pytest.mark.parametrize("sequence", [0x30, 0x10, 0x31, 0x11, 0x64, 0x44, 0xA3, 0x83])
def test_elements_that_overlap_take_no_time(sequence: int) -> None:
    began = time.process_time()
    read_all(overlapping(28, sequence))  # 2 ** 28 elements, were they taken apart
    assert time.process_time() - began < 1


def test_elements_nested_too_deep_are_refused() -> None:
    body = b""
    for _ in range(20_000):
        body = b"\x30\x84" + len(body).to_bytes(4) + body
    with pytest.raises(ProtocolError):
        response.decode(b"\x30\x84" + (len(body) + 3).to_bytes(4) + b"\x02\x01\x01" + body)


@pytest.mark.parametrize("operation", ["bind", "search", "compare"])
def test_bare_success_reads_like_any_other_result(operation: str) -> None:
    octets = messages.result(operation, ID, 0)
    decoded = response.decode(octets)
    assert (decoded.message_id, response.result(decoded)) == (ID, Result(0, "", ()))
    with_text = response.decode(messages.result(operation, ID, 0, "x"))
    assert decoded.operation == with_text.operation
    assert response.result(with_text) == Result(0, "x", ())
    read_all(octets[:4] + b"\xff" + octets[5:])
    read_all(octets[:-8] + b"\x06" + octets[-7:])
