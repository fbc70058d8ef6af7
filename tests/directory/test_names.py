from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.directory.names import name_of, name_of_uuid, within
from pysaslauthd.directory.rules import dn_of
from pysaslauthd.directory.template import escape_dn

NAME = b"uid=penguin,ou=people,dc=hoge,dc=cxm"


@pytest.mark.parametrize(
    "dn",
    [
        b"uid=penguin,ou=People,dc=hoge,dc=cxm",
        b"UID=Penguin, OU=people , dc=HOGE,dc=cxm",
        b"uid=\\70enguin,ou=People,dc=hoge,dc=cxm",
    ],
)
def test_all_spellings_of_a_dn_are_one_name(dn: bytes) -> None:
    assert name_of(dn) == NAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"cn=a b,dc=x", b"cn=A  B,dc=x"),
        (b"cn=a+uid=b,dc=x", b"uid=B+cn=A,dc=x"),
        (b"cn=a\\2cb,dc=x", b"cn=a\\,b,dc=x"),
        ("cn=ﬁsh,dc=x".encode(), b"cn=fish,dc=x"),
    ],
)
def test_what_the_directory_calls_equal_has_one_name(one: bytes, other: bytes) -> None:
    assert name_of(one) == name_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(b"cn=a\\2cdc\\3db,dc=x", b"cn=a,dc=b,dc=x"), (b"cn=a\\2bb\\3dc", b"cn=a+b=c"), (b"cn=a b", b"cn=ab")],
)
def test_different_entries_have_different_names(one: bytes, other: bytes) -> None:
    assert name_of(one) != name_of(other)


@pytest.mark.parametrize("dn", [b"u:Penguin", b"Penguin", b"\xff=x", b"cn=a=B"])
def test_what_ldap3_takes_for_no_dn_is_its_own_name(dn: bytes) -> None:
    assert name_of(dn) == dn.lower()
    assert not within(name_of(dn), b"dc=cxm")


@given(st.lists(st.tuples(st.sampled_from(["uid", "CN", "o-u"]), st.text("aB .,+=\\é").filter(str.strip)), min_size=1))
def test_names_are_equal_exactly_where_dns_are(parts: list[tuple[str, str]]) -> None:
    dn = ",".join(f"{kind}={escape_dn(value.encode()).decode()}" for kind, value in parts).encode()
    try:
        parsed = dn_of(dn)
        dn_of(dn.replace(b"a", b"c"))
    except ValueError:
        return
    again = b",".join(kind.encode() + b"=" + escape_dn(value) for ((kind, value),) in parsed)
    assert name_of(dn) == name_of(again)
    assert within(name_of(dn), name_of(again))
    other = dn.replace(b"a", b"c")
    assert (name_of(other) == name_of(dn)) == (dn_of(other) == parsed)


def test_a_uuid_has_one_name_in_both_its_forms() -> None:
    text = b"9ad84d40-7c28-1041-86a9-F9BBD50C5122"
    assert name_of_uuid(text) == name_of_uuid(bytes.fromhex(text.replace(b"-", b"").decode()))


def test_an_entry_lies_within_itself_and_all_above() -> None:
    assert all(within(NAME, base) for base in (NAME, b"ou=people,dc=hoge,dc=cxm", b"dc=cxm", b""))
    assert not within(NAME, b"people,dc=hoge,dc=cxm")
    assert not within(b"ou=people,dc=hoge,dc=cxm", NAME)
