from __future__ import annotations

import asyncio

import pytest

from pysaslauthd.directory.areas import Area
from pysaslauthd.directory.names import name_of
from pysaslauthd.directory.watch_connection import Change, PersistentSearch, Synchronisation
from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import change, response
from rig import ldap_messages as messages
from rig import people

PENGUIN = people.PENGUIN_DN
NAME = name_of(PENGUIN.encode())
FORMER = f"uid=penguin,ou=Former,{people.SUFFIX}"
UUID = bytes.fromhex("9ad84d407c28104186a9f9bbd50c5122")
UUID_NAME = UUID.hex().encode()
AREA = Area(people.PEOPLE)
REFRESHED = response.decode(messages.intermediate(4, change.SYNC_INFO, b"\xa1\x00"))


def told(dn: str, control: str, value: bytes, **attributes: bytes) -> response.Response:
    held = {name: [each] for name, each in attributes.items()}
    return response.decode(messages.entry(4, dn, held, {control: value}))


def psearch(dn: str, kind: int, previous: str = "") -> Change | None:
    before = b"\x04" + bytes([len(previous)]) + previous.encode() if previous else b""
    value = b"\x30" + bytes([3 + len(before), 0x0A, 1, kind]) + before
    return PersistentSearch().read(told(dn, change.ENTRY_CHANGE, value))


def synced(dn: str, state: int, **attributes: bytes) -> Change | None:
    dialect = Synchronisation(AREA, b"")
    dialect.read(REFRESHED)
    value = bytes([0x30, 21, 0x0A, 1, state, 0x04, 16]) + UUID
    return dialect.read(told(dn, change.SYNC_STATE, value, **attributes))


def test_a_persistent_search_tells_names_and_of_a_rename_both() -> None:
    assert psearch(PENGUIN, change.MODIFIED) == Change((NAME,))
    assert psearch(PENGUIN, change.DELETED) == Change((NAME,))
    former = name_of(FORMER.encode())
    assert psearch(FORMER, change.RENAMED, PENGUIN) == Change((former, NAME), below=NAME)


def test_a_synchronisation_tells_dn_and_uuid() -> None:
    assert synced(PENGUIN, 2, hasSubordinates=b"FALSE") == Change((NAME, UUID_NAME))
    assert synced(PENGUIN, change.SYNC_DELETE) == Change((NAME, UUID_NAME))


def test_what_else_hangs_on_a_branch_with_a_new_dn_is_unclear() -> None:
    assert synced(f"ou=Staff,{people.PEOPLE}", 2, hasSubordinates=b"TRUE") == Change(
        (name_of(f"ou=Staff,{people.PEOPLE}".encode()), UUID_NAME), unclear=True
    )
    assert synced(FORMER, change.SYNC_DELETE) == Change((name_of(FORMER.encode()), UUID_NAME), unclear=True)


def test_the_base_itself_has_no_other_dn_while_it_is_found() -> None:
    assert synced(people.PEOPLE, 2, hasSubordinates=b"TRUE") == Change((name_of(people.PEOPLE.encode()), UUID_NAME))


def test_a_synchronisation_tells_nothing_before_its_refresh_is_over() -> None:
    dialect = Synchronisation(AREA, b"")
    value = bytes([0x30, 21, 0x0A, 1, 1, 0x04, 16]) + UUID
    assert dialect.read(told(PENGUIN, change.SYNC_STATE, value)) is None
    assert not dialect.begun.is_set()
    assert dialect.read(REFRESHED) is None
    assert dialect.begun.is_set()


def test_a_set_of_uuids_is_changes() -> None:
    value = b"\xa3\x17\x01\x01\xff\x31\x12\x04\x10" + UUID
    message = response.decode(messages.intermediate(4, change.SYNC_INFO, value))
    assert Synchronisation(AREA, b"").read(message) == Change((UUID_NAME,))


def test_references_and_new_cookies_tell_nothing() -> None:
    reference = response.decode(messages.reference(4, "ldap://elsewhere/"))
    assert PersistentSearch().read(reference) is None
    assert Synchronisation(AREA, b"").read(reference) is None
    cookie = response.decode(messages.intermediate(4, change.SYNC_INFO, b"\x80\x02ab"))
    assert Synchronisation(AREA, b"").read(cookie) is None


@pytest.mark.parametrize("dialect", [PersistentSearch(), Synchronisation(AREA, b"")])
def test_an_entry_without_its_control_is_a_protocol_error(dialect: PersistentSearch | Synchronisation) -> None:
    dialect.begun.set()
    message = response.decode(messages.entry(4, PENGUIN, {}))
    with pytest.raises(ProtocolError):
        dialect.read(message)


def test_a_dialect_needs_no_event_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert PersistentSearch().begun.is_set()
