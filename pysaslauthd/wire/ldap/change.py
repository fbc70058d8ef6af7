"""What tells of changes in a directory: octets to values and back.

Persistent search (draft-ietf-ldapext-psearch-03), which 389 DS has, and content synchronisation (RFC 4533), which
OpenLDAP has with its overlay syncprov.
"""

from __future__ import annotations

from typing import NamedTuple

from pyasn1.codec.ber import encoder
from pyasn1.type.namedtype import NamedType, NamedTypes, OptionalNamedType
from pyasn1.type.univ import Enumerated, OctetString, Sequence

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap.ber import BOOLEAN, ENUMERATED, OCTETS, SEQUENCE, SET, elements, integer, octets
from pysaslauthd.wire.ldap.request import Control
from pysaslauthd.wire.ldap.response import Response

PERSISTENT_SEARCH = "2.16.840.1.113730.3.4.3"
"""On a search: changes are told from now on."""
ENTRY_CHANGE = "2.16.840.1.113730.3.4.7"
"""On an entry of such a search: what happened to it."""
SYNC_REQUEST = "1.3.6.1.4.1.4203.1.9.1.1"
"""On a search: RFC 4533 section 2.2."""
SYNC_STATE = "1.3.6.1.4.1.4203.1.9.1.2"
"""On an entry of such a search: RFC 4533 section 2.3."""
SYNC_INFO = "1.3.6.1.4.1.4203.1.9.1.4"
"""The name of such a search's intermediate responses: RFC 4533 section 2.5."""

INTERMEDIATE_RESPONSE = 25
"""RFC 4511 section 4.13."""

ADDED, DELETED, MODIFIED, RENAMED = 1, 2, 4, 8
"""changeTypes of a persistent search."""
SYNC_DELETE = 3
"""A sync state: the entry is gone, or is no longer among those that are searched for."""

_REFRESH_AND_PERSIST = 3
_UUID_OCTETS = 16
_NAME, _VALUE = 0x80, 0x81  # of an intermediate response
_NEW_COOKIE, _REFRESH_DELETE, _REFRESH_PRESENT, _SYNC_ID_SET = 0x80, 0xA1, 0xA2, 0xA3


class _SyncRequest(Sequence):  # type: ignore[misc]  # pyasn1 ships no types
    componentType = NamedTypes(NamedType("mode", Enumerated()), OptionalNamedType("cookie", OctetString()))  # noqa: N815 - pyasn1's name


def persistent_search() -> Control:
    """The control that makes a search tell all changes from now on, and what each was, but not what is there."""
    all_types = ADDED | DELETED | MODIFIED | RENAMED
    value = bytes((SEQUENCE, 9, 0x02, 1, all_types, BOOLEAN, 1, 0xFF, BOOLEAN, 1, 0xFF))
    return Control(PERSISTENT_SEARCH, critical=True, value=value)


def sync_request(cookie: bytes) -> Control:
    """The control that makes a search tell what differs from the state that the cookie names, then all changes.

    :param cookie: empty names no state: every entry is told first.
    """
    request = _SyncRequest()
    request["mode"] = _REFRESH_AND_PERSIST
    if cookie:
        request["cookie"] = cookie
    return Control(SYNC_REQUEST, critical=True, value=encoder.encode(request))


class EntryChange(NamedTuple):
    """What happened to an entry; ``previous_dn`` is its DN before it was renamed, empty otherwise."""

    kind: int
    previous_dn: bytes = b""


def entry_change(value: bytes) -> EntryChange:
    """Decode an entry change notification.

    :raises ProtocolError: it is malformed.
    """
    parts = _sequence(value)
    kind = integer(parts[0], ENUMERATED)
    return EntryChange(kind, parts[1][1] if len(parts) > 1 and parts[1][0] == OCTETS else b"")


class SyncState(NamedTuple):
    """What became of an entry, and its entryUUID, which it keeps when it is renamed."""

    state: int
    uuid: bytes


def sync_state(value: bytes) -> SyncState:
    """Decode a sync state control.

    :raises ProtocolError: it is malformed.
    """
    parts = _sequence(value)
    if len(parts) < 2:
        raise ProtocolError("a sync state without an entryUUID")
    return SyncState(integer(parts[0], ENUMERATED), _uuid(octets(parts[1])))


class SyncInfo(NamedTuple):
    """An intermediate response: whether the refresh is over with it, and the entryUUIDs that it tells of."""

    refreshed: bool = False
    uuids: tuple[bytes, ...] = ()


def sync_info(response: Response) -> SyncInfo:
    """Decode a sync info message; one of another kind tells nothing.

    :raises ProtocolError: it is malformed.
    """
    named = dict(elements(response.payload))
    if named.get(_NAME) != SYNC_INFO.encode():
        return SyncInfo()
    choice = elements(named.get(_VALUE, b""))
    if len(choice) != 1:
        raise ProtocolError("a sync info message that does not decode")
    tag, contents = choice[0]
    if tag in (_REFRESH_DELETE, _REFRESH_PRESENT):
        # refreshDone BOOLEAN DEFAULT TRUE
        return SyncInfo(refreshed=all(any(flag) for kind, flag in elements(contents) if kind == BOOLEAN))
    if tag == _SYNC_ID_SET:
        sets = [elements(inner) for kind, inner in elements(contents) if kind == SET]
        return SyncInfo(uuids=tuple(_uuid(octets(each)) for each_set in sets for each in each_set))
    if tag != _NEW_COOKIE:
        raise ProtocolError("a sync info message that does not decode")
    return SyncInfo()


def _sequence(value: bytes) -> list[tuple[int, bytes]]:
    whole = elements(value)
    parts = elements(octets(whole[0], SEQUENCE)) if len(whole) == 1 else []
    if not parts:
        raise ProtocolError("a control that does not decode")
    return parts


def _uuid(value: bytes) -> bytes:
    if len(value) != _UUID_OCTETS:
        raise ProtocolError("an entryUUID that is none")
    return value
