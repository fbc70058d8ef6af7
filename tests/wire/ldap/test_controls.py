from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap.controls import PasswordPolicy, Usability, password_policy, usability

# Each as a server sent it: 389 DS 2.3 and OpenLDAP 2.5.
POLICIES = [
    ("3000", PasswordPolicy(None, None)),
    ("3003810100", PasswordPolicy(0, None)),
    ("3003810101", PasswordPolicy(1, None)),
    ("3003810102", PasswordPolicy(2, None)),
    ("3006a00480021000", PasswordPolicy(None, None)),
    ("3005a003810103", PasswordPolicy(None, 3)),
    ("3008a003810101810102", PasswordPolicy(2, 1)),
    ("308400000003810102", PasswordPolicy(2, None)),
    ("308400000009a08400000003810107", PasswordPolicy(None, 7)),
]
USABILITIES = [
    ("800100", Usability(available=True)),
    ("80030f4240", Usability(available=True)),
    ("8001ff", Usability(available=True)),
    ("a1840000000d8001ff81010082010084020e10", Usability(False, inactive=True, unlock=3600)),
    ("a184000000098001008101ff820100", Usability(False, reset=True)),
    ("a1840000000c8001008101008201ff830100", Usability(False, expired=True)),
    ("a1840000000c8001ff810100820100840100", Usability(False, inactive=True)),
    ("a10d8001ff81010082010084020e10", Usability(False, inactive=True, unlock=3600)),
    ("a10f8001008101008201008301ff8401ff", Usability(False, unlock=-1)),
    ("a100", Usability(False)),
]


@pytest.mark.parametrize(("octets", "value"), POLICIES)
def test_a_password_policy_is_read(octets: str, value: PasswordPolicy) -> None:
    assert password_policy(bytes.fromhex(octets)) == value


@pytest.mark.parametrize(("octets", "value"), USABILITIES)
def test_a_usability_is_read(octets: str, value: Usability) -> None:
    assert usability(bytes.fromhex(octets)) == value


@pytest.mark.parametrize("octets", [octets for octets, _ in POLICIES])
def test_a_password_policy_cut_short_or_with_more_behind_it_is_malformed(octets: str) -> None:
    whole = bytes.fromhex(octets)
    for part in [whole[:length] for length in range(len(whole))] + [whole + b"\0"]:
        with pytest.raises(ProtocolError):
            password_policy(part)


@pytest.mark.parametrize("octets", [octets for octets, _ in USABILITIES])
def test_a_usability_cut_short_or_with_more_behind_it_is_malformed(octets: str) -> None:
    whole = bytes.fromhex(octets)
    for part in [whole[:length] for length in range(len(whole))] + [whole + b"\0"]:
        with pytest.raises(ProtocolError):
            usability(part)


@pytest.mark.parametrize(
    "octets", ["0400", "3081", "300381", "30820005810101", "3080", "30028100", "300b8109" + "01" * 9]
)
def test_what_is_no_password_policy_is_malformed(octets: str) -> None:
    with pytest.raises(ProtocolError):
        password_policy(bytes.fromhex(octets))


@pytest.mark.parametrize("octets", ["3000", "8000", "a1028400", "a2800100", "800100800100"])
def test_what_is_no_usability_is_malformed(octets: str) -> None:
    with pytest.raises(ProtocolError):
        usability(bytes.fromhex(octets))


@given(st.binary(max_size=40))
@example(b"")
def test_any_octets_are_a_value_or_malformed(octets: bytes) -> None:
    for read in (password_policy, usability):
        with contextlib.suppress(ProtocolError):
            assert isinstance(read(octets), PasswordPolicy | Usability)
