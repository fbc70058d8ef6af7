"""Matching rules: which values are equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.directory.rules import case_ignore, distinguished_name, dn_of, octet_string, rule_of
from pysaslauthd.directory.template import escape_dn


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"Penguin@HOGE.cxm", b"penguin@hoge.cxm"),
        (b"  two   words ", b"Two Words"),
        (b"tab\tline\n", b"tab line"),
        (b"STRASSE", "straße".encode()),
        ("Ä".encode(), "A\u0308".lower().encode()),
        ("\uff21\uff22".encode(), b"ab"),
        ("a\u3000b".encode(), b"a b"),
        (b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_case_width_composition_and_blanks_do_not_count(one: bytes, other: bytes) -> None:
    assert case_ignore(one) == case_ignore(other)


@pytest.mark.parametrize(("one", "other"), [(b"ab", b"a b"), (b"\xff", b"\xfe"), (b"a", b"a\0"), (b"*", b"a")])
def test_other_differences_count(one: bytes, other: bytes) -> None:
    assert case_ignore(one) != case_ignore(other)


@given(st.binary())
def test_octets_are_equal_to_themselves_alone(value: bytes) -> None:
    assert octet_string(value) == value
    assert octet_string(value) != octet_string(value + b" ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"uid=penguin,ou=People,dc=hoge,dc=cxm", b"UID = Penguin , OU=people, DC=HOGE,dc=cxm"),
        (rb"cn=a\2cb,dc=x", rb"cn=a\,b,dc=x"),
        (rb"cn=a\ ,dc=x", rb"cn=a\20,dc=x"),
        (rb"cn=a\\,dc=x", rb"cn=a\5C,dc=x"),
        (rb"cn=\#a,dc=x", rb"cn=\23a,dc=x"),
        (rb"cn=J\c3\bcrgen,dc=x", "cn=JÜRGEN,dc=x".encode()),
        (b"cn=a+uid=b,dc=x", b"uid=B+cn=A,dc=x"),
        (b"", b""),
    ],
)
def test_a_dn_is_the_same_however_it_is_written(one: bytes, other: bytes) -> None:
    assert dn_of(one) == dn_of(other)
    assert distinguished_name(one) == distinguished_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"cn=a,cn=b", b"cn=b,cn=a"),
        (b"cn=a+uid=b,dc=x", b"cn=a,uid=b,dc=x"),
        (rb"cn=a\,dc\=x", b"cn=a,dc=x"),
        (rb"cn=a\2cdc\3dx", b"cn=a,dc=x"),
        (rb"cn=a\5c2cb", rb"cn=a\2cb"),
    ],
)
def test_other_dns_differ(one: bytes, other: bytes) -> None:
    assert dn_of(one) != dn_of(other)


def test_the_parent_is_what_follows_the_first_rdn() -> None:
    assert dn_of(b"uid=penguin,ou=People,dc=hoge")[1:] == dn_of(b"ou=people,dc=HOGE")
    assert dn_of(b"dc=cxm")[1:] == dn_of(b"") == ()


@pytest.mark.parametrize(
    "text",
    [
        b"penguin",
        b"=x",
        b"cn=",
        b"cn=a,",
        b"cn=a+",
        b",cn=a",
        b"cn=a,,dc=x",
        b"cn=a b=c",
        rb"cn=\zz",
        b"cn=a\\",
        b'cn="a,b"',
        b"cn=\xff",
        b"cn=a;dc=x",
        b"c n=a",
    ],
)
def test_what_is_no_dn_is_refused_and_as_a_value_equals_itself_alone(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dn_of(text)
    assert distinguished_name(text) == text


@given(st.binary(max_size=60) | st.text(alphabet='cn=a,+\\"#; 2c', max_size=40).map(str.encode))
def test_any_bytes_are_a_dn_or_refused(text: bytes) -> None:
    try:
        dn = dn_of(text)
    except ValueError:
        dn = ()
    assert distinguished_name(text) in (dn, text)


@given(
    st.lists(
        st.binary(min_size=1, max_size=12) | st.text(alphabet=' ,+=\\#;"<>a2', min_size=1, max_size=8).map(str.encode),
        min_size=1,
        max_size=4,
    )
)
def test_escaped_values_come_back_from_a_dn(values: list[bytes]) -> None:
    text = b",".join(b"cn=" + escape_dn(value) for value in values)
    assert dn_of(text) == tuple((("cn", case_ignore(value)),) for value in values)


def test_the_rule_goes_by_the_attribute_whatever_its_options() -> None:
    assert rule_of("mail") is case_ignore
    assert rule_of("userpassword") is octet_string
    assert rule_of("userpassword;x-old") is octet_string
    assert rule_of("member") is distinguished_name
