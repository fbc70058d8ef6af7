from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import change
from pysaslauthd.wire.ldap.change import EntryChange, SyncInfo, SyncState
from pysaslauthd.wire.ldap.response import Response

UUID = bytes.fromhex("9ad84d407c28104186a9f9bbd50c5122")
# Seen from 389 DS 2.3.1 and slapd 2.5.13.
MODIFIED = bytes.fromhex("30030a0104")
RENAMED = b"\x30\x24\x0a\x01\x08\x04\x1fuid=w1,ou=People,dc=hoge,dc=cxm"
LONG = b"uid=" + b"x" * 200 + b",ou=People,dc=hoge,dc=cxm"
RENAMED_FROM_LONG = b"\x30\x81\xeb\x0a\x01\x08\x04\x81\xe5" + LONG
STATE = b"\x30\x4b\x0a\x01\x02\x04\x10" + UUID + b"\x04\x34rid=000,csn=20261124075841.169602Z#000000#000#000000"
NAME = b"\x80\x181.3.6.1.4.1.4203.1.9.1.4"


def info(value: bytes) -> SyncInfo:
    return change.sync_info(Response(4, change.INTERMEDIATE_RESPONSE, NAME + value, b""))


def test_a_persistent_search_asks_for_all_changes_and_what_they_were() -> None:
    control = change.persistent_search()
    assert (control.oid, control.critical) == ("2.16.840.1.113730.3.4.3", True)
    assert control.value == bytes.fromhex("300902010f0101ff0101ff")


def test_a_sync_request_persists_and_names_the_state_that_is_known() -> None:
    assert change.sync_request(b"").value == bytes.fromhex("30030a0103")
    assert change.sync_request(b"rid=000").value == bytes.fromhex("300c0a01030407") + b"rid=000"
    long = change.sync_request(b"c" * 300).value
    assert long is not None
    assert long.startswith(bytes.fromhex("308201330a01030482012c"))


def test_a_change_tells_its_kind_and_the_dn_before() -> None:
    assert change.entry_change(MODIFIED) == EntryChange(change.MODIFIED)
    assert change.entry_change(RENAMED) == EntryChange(change.RENAMED, b"uid=w1,ou=People,dc=hoge,dc=cxm")
    assert change.entry_change(RENAMED_FROM_LONG).previous_dn == LONG
    # with a change number, as the draft allows
    assert change.entry_change(bytes.fromhex("30060a0101020105")) == EntryChange(change.ADDED)


def test_a_sync_state_tells_the_uuid() -> None:
    assert change.sync_state(STATE) == SyncState(2, UUID)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"\x81\x02\xa1\x00", SyncInfo(refreshed=True)),
        (b"\x81\x02\xa2\x00", SyncInfo(refreshed=True)),
        (b"\x81\x05\xa2\x03\x01\x01\xff", SyncInfo(refreshed=True)),
        (b"\x81\x05\xa2\x03\x01\x01\x00", SyncInfo(refreshed=False)),
        (b"\x81\x06\xa1\x04\x04\x02ab", SyncInfo(refreshed=True)),
        (b"\x81\x04\x80\x02ab", SyncInfo()),
        (b"\x81\x19\xa3\x17\x01\x01\xff\x31\x12\x04\x10" + UUID, SyncInfo(uuids=(UUID,))),
    ],
)
def test_a_sync_info_tells_when_the_refresh_is_over_and_of_whom(value: bytes, told: SyncInfo) -> None:
    assert info(value) == told


def test_an_intermediate_response_of_another_kind_tells_nothing() -> None:
    assert change.sync_info(Response(4, 25, b"\x80\x031.2", b"")) == SyncInfo()
    assert change.sync_info(Response(4, 25, b"", b"")) == SyncInfo()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        b"\x04\x00",
        MODIFIED + b"\0",
        MODIFIED + MODIFIED,
        b"\x30\x03\x0a\x02\x04",
        b"\x30\x02\x04\x00",
    ],
)
def test_what_does_not_decode_is_a_protocol_error(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        change.entry_change(value)
    with pytest.raises(ProtocolError):
        change.sync_state(value)


@pytest.mark.parametrize("value", [b"", b"\x81\x00", b"\x81\x02\x85\x00", b"\x81\x06\xa3\x04\x31\x02\x04\x00"])
def test_a_sync_info_that_does_not_decode_is_a_protocol_error(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        info(value)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([MODIFIED, RENAMED, STATE]).flatmap(
            lambda whole: st.integers(0, len(whole) - 1).flatmap(
                lambda at: st.binary(min_size=1, max_size=1).map(lambda new: whole[:at] + new + whole[at + 1 :])
            )
        ),
    )
)
def test_any_octets_give_a_value_or_a_protocol_error(value: bytes) -> None:
    for read in (change.entry_change, change.sync_state, info):
        try:
            read(value)
        except ProtocolError:
            continue


@pytest.mark.parametrize("whole", [MODIFIED, RENAMED, STATE])
def test_every_beginning_of_a_value_is_a_protocol_error(whole: bytes) -> None:
    for end in range(len(whole)):
        with pytest.raises(ProtocolError):
            (change.sync_state if whole is STATE else change.entry_change)(whole[:end])
