"""The mux codec: requests in any pieces, bounds, replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import AuthRequest, Peer
from pysaslauthd.wire import mux

FOUR = b"\x00\x07penguin\x00\x0cpenguin-pass\x00\x04smtp\x00\x08hoge.cxm"
FIVE = FOUR + b"\x00\x0e192.0.2.1;4567"
PENGUIN = AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm")

# Long enough to cross the first count's low octet, short enough for many examples.
field = st.binary(max_size=300)


def counted(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def test_four_strings_are_a_request() -> None:
    assert mux.parse(FOUR) == (PENGUIN, len(FOUR))


def test_a_fifth_string_is_the_remote_address() -> None:
    assert mux.parse(FIVE) == (PENGUIN._replace(remote=b"192.0.2.1;4567"), len(FIVE))


def test_an_empty_fifth_string_is_taken() -> None:
    assert mux.parse(FOUR + b"\x00\x00") == (PENGUIN, len(FOUR) + 2)


def test_every_field_may_be_empty() -> None:
    assert mux.parse(bytes(8)) == (AuthRequest(b"", b""), 8)


def test_the_peer_is_passed_on() -> None:
    received = mux.parse(FOUR, Peer(1, 2, 3))
    assert received is not None
    assert received[0].peer == Peer(1, 2, 3)


@pytest.mark.parametrize("size", range(len(FOUR)))
def test_part_of_four_strings_is_no_request_yet(size: int) -> None:
    assert mux.parse(FOUR[:size]) is None


@pytest.mark.parametrize("size", range(len(FOUR), len(FIVE)))
def test_part_of_a_fifth_string_is_left_alone(size: int) -> None:
    assert mux.parse(FIVE[:size]) == (PENGUIN, len(FOUR))


def test_octets_after_the_fifth_string_are_left_alone() -> None:
    received = mux.parse(FIVE + b"\x00\x01x")
    assert received is not None
    assert received[1] == len(FIVE)


def test_a_request_of_the_most_octets_is_whole() -> None:
    password = b"x" * (mux.MAX_REQUEST - 8)
    assert mux.parse(counted(b"", password, b"", b"")) == (AuthRequest(b"", password), mux.MAX_REQUEST)


def test_a_request_as_long_as_libsasl2_can_send_is_whole_with_five_strings() -> None:
    password = b"x" * (8192 - 10 - 7)
    data = counted(b"penguin", password, b"", b"", b"")
    assert len(data) == 8192
    assert mux.parse(data) == (AuthRequest(b"penguin", password), 8192)


def test_one_octet_more_is_refused_before_it_arrives() -> None:
    size = mux.MAX_REQUEST - 3
    assert mux.parse(counted(b"") + (size - 1).to_bytes(2, "big")) is None
    with pytest.raises(ProtocolError, match=f"limit is {mux.MAX_REQUEST}"):
        mux.parse(counted(b"") + size.to_bytes(2, "big"))


def test_small_fields_that_exceed_the_bound_together_are_refused() -> None:
    quarter = b"x" * (mux.MAX_REQUEST // 4)
    with pytest.raises(ProtocolError):
        mux.parse(counted(quarter, quarter, quarter, quarter)[: mux.MAX_REQUEST])


def test_a_refusal_does_not_show_the_password() -> None:
    with pytest.raises(ProtocolError) as refusal:
        mux.parse(counted(b"penguin", b"penguin-pass" * 5000, b"", b""))
    assert "penguin" not in str(refusal.value)


def test_a_huge_fifth_string_is_ignored() -> None:
    assert mux.parse(FOUR + b"\xff\xff" + b"x" * 20000) == (PENGUIN, len(FOUR))


@given(st.binary(max_size=200) | st.lists(field, max_size=6).map(lambda fields: counted(*fields)))
def test_any_octets_give_a_request_or_none_or_a_protocol_error(data: bytes) -> None:
    try:
        received = mux.parse(data)
    except ProtocolError:
        return
    assert received is None or 8 <= received[1] <= len(data)


@given(field, field, field, field, field)
def test_what_a_client_encodes_the_server_reads(
    login: bytes, password: bytes, service: bytes, realm: bytes, remote: bytes
) -> None:
    request = AuthRequest(login, password, service, realm, remote)
    data = mux.encode_request(request)
    assert mux.parse(data) == (request, len(data))


@given(field, field, st.data())
def test_a_request_is_complete_at_its_last_octet_and_not_before(
    login: bytes, password: bytes, draw: st.DataObject
) -> None:
    data = mux.encode_request(AuthRequest(login, password, b"smtp"))
    assert mux.parse(data[: draw.draw(st.integers(0, len(data) - 1))]) is None


def test_without_a_remote_address_four_strings_are_sent() -> None:
    assert mux.encode_request(PENGUIN) == FOUR
    assert mux.encode_request(PENGUIN._replace(remote=b"192.0.2.1;4567")) == FIVE


def test_a_field_longer_than_its_count_cannot_be_encoded() -> None:
    mux.encode_request(AuthRequest(b"penguin", b"x" * 65535))
    with pytest.raises(ProtocolError):
        mux.encode_request(AuthRequest(b"penguin", b"x" * 65536))


@pytest.mark.parametrize("reply", [b"OK", b"NO", b"OK and more", b"NO " + b"x" * 5000])
def test_a_reply_is_complete_at_its_last_octet(reply: bytes) -> None:
    data = counted(reply)
    assert all(mux.decode_reply(data[:size]) is None for size in range(len(data)))
    assert mux.decode_reply(data) == reply
    assert mux.decode_reply(data + b"trailing") == reply


def test_the_replies_sent_are_exactly_two_letters() -> None:
    assert mux.decode_reply(mux.OK) == b"OK"
    assert mux.decode_reply(mux.NO) == b"NO"
    assert len(mux.OK) == len(mux.NO) == 4


@pytest.mark.parametrize("data", [b"\x00\x00", b"\x00\x01", b"\x00\x01N"])
def test_a_reply_too_short_for_a_verdict_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        mux.decode_reply(data)


@given(st.binary(max_size=50))
def test_any_octets_give_a_reply_or_none_or_a_protocol_error(data: bytes) -> None:
    try:
        reply = mux.decode_reply(data)
    except ProtocolError:
        return
    assert reply is None or 2 <= len(reply) <= len(data) - 2
