from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap.ber import ENUMERATED, elements, integer, octets


def encoded(tag: int, contents: bytes, form: int) -> bytes:
    """An element whose length is written in the shortest form, or in ``form`` octets behind their count."""
    length = len(contents)
    if form == 0 and length < 0x80:
        return bytes([tag, length]) + contents
    form = max(form, (length.bit_length() + 7) // 8, 1)
    return bytes([tag, 0x80 | form]) + length.to_bytes(form, "big") + contents


ELEMENT = st.tuples(st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F), st.binary(max_size=300))


@given(st.lists(st.tuples(ELEMENT, st.integers(0, 4)), max_size=6))
def test_what_was_written_is_read_in_every_form_of_length(written: list[tuple[tuple[int, bytes], int]]) -> None:
    data = b"".join(encoded(tag, contents, form) for (tag, contents), form in written)
    assert elements(data) == [element for element, _ in written]


@given(st.lists(st.tuples(ELEMENT, st.integers(0, 4)), min_size=1, max_size=3), st.data())
def test_no_shortening_gives_a_longer_element(
    written: list[tuple[tuple[int, bytes], int]], data: st.DataObject
) -> None:
    whole = b"".join(encoded(tag, contents, form) for (tag, contents), form in written)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = elements(cut)
    except ProtocolError:
        return
    assert found == [element for element, _ in written][: len(found)]


@given(st.binary(max_size=80))
def test_any_octets_are_elements_or_refused(data: bytes) -> None:
    try:
        found = elements(data)
    except ProtocolError:
        return
    assert sum(len(contents) for _, contents in found) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x04",  # no length
        b"\x04\x01",  # no contents
        b"\x04\x82\x01",  # a length that is cut off
        b"\x30\x80\x00\x00",  # the indefinite form
        b"\x04\x85\x00\x00\x00\x00\x00",  # a length of five octets
        b"\x04\x84\xff\xff\xff\xff",  # 4 GiB
        b"\x1f\x81\x00\x00",  # a tag of two octets
        b"\x04\x00\x04",  # a good one, then half of one
    ],
)
def test_what_ldap_does_not_use_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        elements(data)


def test_numbers_are_read_up_to_max_int() -> None:
    assert integer((2, b"\x7f\xff\xff\xff")) == 2**31 - 1
    assert integer((ENUMERATED, b"\x31"), ENUMERATED) == 49
    assert integer((2, b"\x00\x80")) == 128


@pytest.mark.parametrize("element", [(2, b""), (2, b"\x80"), (2, b"\x00\x7f\xff\xff\xff"), (4, b"\x01"), (10, b"\x01")])
def test_what_is_no_such_number_is_refused(element: tuple[int, bytes]) -> None:
    with pytest.raises(ProtocolError):
        integer(element)


def test_an_element_of_another_kind_is_refused() -> None:
    assert octets((4, b"x")) == b"x"
    with pytest.raises(ProtocolError, match="0x30"):
        octets((0x30, b"x"))
