"""Answers read at one glance: those that look like one that was read before.

Where BER's elements lie follows from their tags and lengths alone. So once an answer has been read element by element,
every other one that has the same octets around its values has its values in the same places, and one unpacking and one
comparison read all of it: 1.5 µs in place of 4. An answer is then octets and holes in turn, as a request is
(:mod:`pysaslauthd.wire.ldap.request`). People whose DNs and stored passwords are as long as each other's share a shape.
It holds the octets around the values, and none of theirs.
"""

from __future__ import annotations

import struct

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import response
from pysaslauthd.wire.ldap.ber import spans
from pysaslauthd.wire.ldap.response import SearchEntry

MAX_SHAPES = 256
"""Shapes kept at most, about 1.5 kB each; one more, and all are learned anew."""
MAX_SIZE = 2048
"""Octets of the largest answer that is made a shape of."""
MAX_HOLES = 32
"""Values of an answer that is made a shape of, its DN and messageIDs included, at most."""
MISSES = 16
"""Answers of a shape's size and not of the shape, after which the next one's takes its place. To learn takes as long as
to read four answers."""

_ID = 4
"""Octets of our messageIDs."""
_DONE_HEAD = b"\x30\x0f\x02\x04"
_DONE = b"\x65\x07\x0a\x01\x00\x04\x00\x04\x00"
"""What is around the messageID of a search result that is plain success (RFC 4511 section 4.5.2)."""
_DONE_SIZE = len(_DONE_HEAD) + _ID + len(_DONE)


Whole = tuple[int, SearchEntry, int]
"""An entry and the search's successful end right behind it: the messageID, the entry, and where the octets end."""


class _Shape:
    """One shape. ``fixed`` are the octets around the holes, ``places`` which holes are an attribute's values."""

    __slots__ = ("fixed", "misses", "places", "size", "unpack")

    def __init__(self, message: bytes, holes: list[list[int]], places: tuple[tuple[str, slice], ...]) -> None:
        pair = message + _DONE_HEAD + bytes(_ID) + _DONE
        last = len(message) + len(_DONE_HEAD)
        holes = [*holes, [last, last + _ID]]
        fields, at = "", 0
        for start, end in holes:
            fields += f"{start - at}s{end - start}s"
            at = end
        unpacker = struct.Struct(f"{fields}{len(pair) - at}s")
        self.unpack = unpacker.unpack_from
        self.size = unpacker.size
        self.fixed = unpacker.unpack(pair)[::2]
        self.places = places
        self.misses = 0


class Shapes:
    """The shapes of one directory's answers."""

    def __init__(self) -> None:
        self._by_size: dict[int, _Shape] = {}

    def __len__(self) -> int:
        return len(self._by_size)

    def read(self, data: bytes, start: int, end: int) -> Whole | None:
        """The answer that begins at ``start``, if it is of a known shape; the shape is known the next time.

        :param end: where its first message ends, which is within the data.
        """
        shape = self._by_size.get(end - start)
        if shape is not None and shape.size <= len(data) - start:
            parts = shape.unpack(data, start)
            values = parts[1::2]
            if parts[::2] == shape.fixed and values[0] == values[-1]:
                attributes = {}
                for name, place in shape.places:
                    attributes[name] = [*values[place]]
                # Not SearchEntry(…), which is a call of Python.
                entry = tuple.__new__(SearchEntry, (values[1], attributes, response.NO_CONTROLS))
                return int.from_bytes(values[0], "big"), entry, start + shape.size
            shape.misses += 1
        if shape is None or shape.misses > MISSES:
            self._learn(data, start, end)
        return None

    def _learn(self, data: bytes, start: int, end: int) -> None:
        done = data[end : end + _DONE_SIZE]
        if end - start > MAX_SIZE or done[: len(_DONE_HEAD)] != _DONE_HEAD or done[-len(_DONE) :] != _DONE:
            return
        message = data[start:end]
        try:
            shape = _shape_of(message)
        except ProtocolError:
            return  # for who reads it element by element to say
        if shape is not None:
            if len(self._by_size) >= MAX_SHAPES:
                self._by_size.clear()
            self._by_size[end - start] = shape


def _shape_of(message: bytes) -> _Shape | None:
    """The shape of a search entry, unless it is none, or has controls or more values than are worth while.

    :raises ProtocolError: it is malformed.
    """
    decoded = response.decode(message)
    if decoded.operation != response.SEARCH_ENTRY or decoded.controls:
        return None
    response.entry(decoded)
    [(_, *whole)] = spans(message, 0, len(message))
    (_, *number), (_, *operation) = spans(message, *whole)
    (_, *dn), (_, *listed) = spans(message, *operation)
    if number[1] - number[0] != _ID:
        return None
    holes, places = [number, dn], []
    for _, *attribute in spans(message, *listed):
        (_, *name), (_, *values) = spans(message, *attribute)
        first = len(holes)
        holes += [[*value] for _, *value in spans(message, *values)]
        places.append((message[slice(*name)].decode().lower(), slice(first, len(holes))))
    return _Shape(message, holes, tuple(places)) if len(holes) < MAX_HOLES else None
