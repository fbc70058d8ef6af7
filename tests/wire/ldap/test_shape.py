"""Shapes: what they read is what element by element is read, and nothing else is read by them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import response, shape
from pysaslauthd.wire.ldap.response import SearchEntry
from pysaslauthd.wire.ldap.shape import MAX_HOLES, MAX_SHAPES, MAX_SIZE, MISSES, Shapes
from rig import ldap_messages as messages

ID, NEXT = 0x01020304, 0x7F000000
DN = "uid=penguin,ou=People,dc=hoge,dc=cxm"
HELD: Mapping[str, Sequence[bytes]] = {"userPassword": [b"{SSHA}penguin", b"\xff\0"], "mail": [], "CN": [b"P"]}
DONE = messages.result("search", ID, 0)


def answer(message_id: int, dn: str = DN, held: Mapping[str, Sequence[bytes]] = HELD) -> bytes:
    return messages.entry(message_id, dn, held) + messages.result("search", message_id, 0)


def read(shapes: Shapes, data: bytes, start: int = 0) -> shape.Whole | None:
    return shapes.read(data, start, response.split(data, start))


def slowly(data: bytes) -> tuple[int, SearchEntry]:
    decoded = response.decode(data[: response.split(data, 0)])
    return decoded.message_id, response.entry(decoded)


def learned(data: bytes) -> Shapes:
    shapes = Shapes()
    assert read(shapes, data) is None
    assert len(shapes) == 1
    return shapes


@pytest.mark.parametrize(
    ("dn", "held"),
    [
        (DN, HELD),
        ("uid=u,dc=cxm", {"userPassword": [b"p"]}),
        ("uid=u,dc=cxm", {}),
        ("", {"userPassword": [b""]}),
        (DN, {"userPassword": [b"{PBKDF2-SHA512}" + bytes(500)], "pwdReset": [b"TRUE"]}),
    ],
)
def test_the_second_answer_of_a_shape_is_read_at_one_glance(dn: str, held: Mapping[str, Sequence[bytes]]) -> None:
    shapes = learned(answer(ID, dn, held))
    other = {name: [bytes(octet ^ 1 for octet in value) for value in values] for name, values in held.items()}
    second = answer(NEXT, dn.swapcase(), other)
    before, after = b"before", DONE
    found = read(shapes, before + second + after, len(before))
    assert found == (*slowly(second), len(before) + len(second))
    assert isinstance(found[1], SearchEntry)


def test_the_values_of_one_answer_are_not_another_s() -> None:
    shapes = learned(answer(ID))
    first, second = read(shapes, answer(ID)), read(shapes, answer(ID))
    assert first is not None
    assert second is not None
    first[1].attributes["userpassword"].append(b"more")
    assert second[1] == slowly(answer(ID))[1]


OTHERS = {
    "another attribute": answer(ID).replace(b"mail", b"gecs"),
    "another place of the DN's end": answer(ID, DN + "m", {**HELD, "CN": [b""]}),
    "another result": messages.entry(ID, DN, HELD) + messages.result("search", ID, 4),
    "a result with a message": messages.entry(ID, DN, HELD) + messages.result("search", ID, 0, "well"),
    "a result with controls": messages.entry(ID, DN, HELD) + messages.result("search", ID, 0, controls={"1.2": b""}),
    "another operation's result": messages.entry(ID, DN, HELD) + messages.result("bind", ID, 0),
    "the result of another search": messages.entry(ID, DN, HELD) + messages.result("search", NEXT, 0),
    "no result yet": messages.entry(ID, DN, HELD) + DONE[:-1],
    "another entry": messages.entry(ID, DN, HELD) + messages.entry(ID, DN, HELD),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=[*OTHERS])
def test_what_is_of_no_known_shape_is_left(data: bytes) -> None:
    assert response.split(data, 0) == response.split(answer(ID), 0)  # by its size it could be of the shape
    assert read(learned(answer(ID)), data) is None


LARGE = {"jpegPhoto": [bytes(MAX_SIZE)]}
MANY = {"mail": [b"%d" % number for number in range(MAX_HOLES)]}
UNLEARNED = {
    "no result": messages.entry(ID, DN, HELD) + messages.entry(ID, DN, HELD),
    "a result that refuses": OTHERS["another result"],
    "a short messageID": answer(5),
    "a short messageID with the entry alone": messages.entry(5, DN, HELD) + DONE,
    "controls": messages.entry(ID, DN, HELD, {"1.2.3": b"x"}) + DONE,
    "a large entry": answer(ID, held=LARGE),
    "many values": answer(ID, held=MANY),
    "a reference": messages.reference(ID, "ldap://b.hoge.cxm/") + DONE,
    "a bind's result": messages.result("bind", ID, 0) + DONE,
    "a name that is not UTF-8": answer(ID).replace(b"mail", b"ma\xffl"),
    "an element that is cut off": answer(ID).replace(b"\x04\x04mail", b"\x04\x44mail"),
}


@pytest.mark.parametrize("data", UNLEARNED.values(), ids=[*UNLEARNED])
def test_what_no_shape_is_made_of(data: bytes) -> None:
    shapes = Shapes()
    assert read(shapes, data) is None
    assert read(shapes, data) is None
    assert len(shapes) == 0


def test_a_shape_that_fits_no_more_gives_way_to_one_of_the_same_size() -> None:
    old, new = answer(ID), answer(ID).replace(b"mail", b"MAIL")
    shapes = learned(old)
    for _ in range(MISSES + 1):
        assert read(shapes, old) is not None
        assert read(shapes, new) is None
    assert len(shapes) == 1
    assert read(shapes, old) is None
    assert read(shapes, new) == (*slowly(new), len(new))


def test_there_is_a_bound_on_shapes() -> None:
    shapes = Shapes()
    for size in range(MAX_SHAPES + 1):
        assert len(shapes) == size
        read(shapes, answer(ID, held={"userPassword": [bytes(size)]}))
    assert len(shapes) == 1


_VALUES = st.lists(st.binary(max_size=5), max_size=3)
_HELD = st.dictionaries(st.sampled_from(["userPassword", "USERPASSWORD", "mail", "cn"]), _VALUES, max_size=3)


@given(_HELD, st.text("ab,=", max_size=8), st.data())
def test_whatever_is_changed_both_ways_of_reading_agree(
    held: Mapping[str, Sequence[bytes]], dn: str, data: st.DataObject
) -> None:
    whole = answer(ID, dn, held)
    shapes = learned(whole)
    changed = bytearray(whole)
    for at, octet in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=3)):
        changed[at] = octet
    agree(shapes, bytes(changed))


@given(st.binary(max_size=60))
@example(answer(ID))
def test_octets_of_any_kind_are_read_as_they_are_element_by_element(data: bytes) -> None:
    shapes = Shapes()
    agree(shapes, data)
    agree(shapes, data)


def agree(shapes: Shapes, data: bytes) -> None:
    """Whatever a shape reads is one entry and the success right behind it, as they are read element by element."""
    with contextlib.suppress(ProtocolError):
        end = response.split(data, 0)
        if 0 < end < len(data):
            found = shapes.read(data, 0, end)
            if found is not None:
                message_id, entry, whole = found
                assert slowly(data) == (message_id, entry)
                done = response.decode(data[end:whole])
                assert (done.message_id, done.operation) == (message_id, response.SEARCH_DONE)
                assert response.result(done) == response.SUCCEEDED
