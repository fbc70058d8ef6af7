"""Templates: tokens cut once, values filled in through an escaper only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import parse_filter
from ldap3.protocol.convert import prepare_filter_for_sending
from ldap3.utils.dn import parse_dn

from pysaslauthd.directory.template import Template, escape_dn, escape_filter
from pysaslauthd.model import AuthRequest, Identity, identify

PENGUIN = identify(AuthRequest(b"penguin@mail.hoge.cxm", b"", b"smtp", b"hoge.cxm"))
DN = b"uid=penguin,ou=People,dc=hoge,dc=cxm"


def as_it_is(value: bytes) -> bytes:
    return value


def expanded(text: str, identity: Identity = PENGUIN, dn: bytes = DN) -> bytes:
    return Template.parse(text).expand(identity, as_it_is, dn)


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("%%", b"%"),
        ("%u", b"penguin@mail.hoge.cxm"),
        ("%U", b"penguin"),
        ("%d", b"mail.hoge.cxm"),
        ("%1", b"cxm"),
        ("%2", b"hoge"),
        ("%3", b"mail"),
        ("%4", b""),
        ("%9", b""),
        ("%s", b"smtp"),
        ("%r", b"hoge.cxm"),
        ("%R", b"@hoge.cxm"),
        ("%D", DN),
    ],
)
def test_each_token_has_its_value(token: str, value: bytes) -> None:
    assert expanded(f"<{token}>") == b"<" + value + b">"


def test_without_a_realm_r_is_the_domain_and_capital_r_nothing() -> None:
    identity = identify(AuthRequest(b"penguin@hoge.cxm", b""))
    assert expanded("%r|%R", identity) == b"hoge.cxm|"


def test_without_domain_and_realm_nothing_is_filled_in() -> None:
    identity = identify(AuthRequest(b"penguin", b""))
    assert expanded("%U|%d|%r|%R|%1", identity) == b"penguin||||"


def test_literals_and_tokens_alternate() -> None:
    assert Template.parse("(mail=%U@%d)%%") == Template(("(mail=", "@", ")%"), ("U", "d"))
    assert Template.parse("") == Template(("",), ())
    assert Template.parse("%u%u") == Template(("", "", ""), ("u", "u"))


@pytest.mark.parametrize("text", ["%x", "100%", "%0", "% u", "%ü"])
def test_an_unknown_token_and_a_lone_percent_sign_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there is no token %"):
        Template.parse(text)


def test_literals_may_be_any_text() -> None:
    assert expanded("größe\n%U") == "größe\npenguin".encode()


def test_a_percent_sign_in_a_value_is_no_token() -> None:
    identity = identify(AuthRequest(b"%d%u@hoge.cxm", b""))
    assert expanded("%U", identity) == b"%d%u"


def test_every_value_goes_through_the_escaper_and_no_literal_does() -> None:
    assert Template.parse("(mail=%U@%d)").expand(PENGUIN, bytes.upper) == b"(mail=PENGUIN@MAIL.HOGE.CXM)"


def test_inside_a_dn_a_value_is_escaped_and_a_whole_dn_is_not() -> None:
    identity = identify(AuthRequest(b"a,b", b""))
    assert Template.parse("cn=%u,%D").escaped_values(identity, DN) == (rb"a\2cb", DN)


def unescaped_dn_value(text: str) -> bytes:
    pieces = text.split("\\")
    return pieces[0].encode() + b"".join(bytes.fromhex(piece[:2]) + piece[2:].encode() for piece in pieces[1:])


@given(st.binary(min_size=1) | st.text(alphabet=' "+,;<=>\\#a*\0=ä', min_size=1).map(str.encode))
def test_an_escaped_dn_value_is_one_value_and_unchanged_to_ldap3(value: bytes) -> None:
    text = (b"uid=" + escape_dn(value) + b",ou=People").decode()
    (kind, escaped, _), suffix = parse_dn(text)
    assert (kind, unescaped_dn_value(escaped)) == ("uid", value)
    assert suffix == ("ou", "People", "")


@given(st.binary() | st.text(alphabet="\\*()\0a =ä&|!", max_size=20).map(str.encode))
def test_an_escaped_filter_value_is_one_equality_and_unchanged_to_ldap3(value: bytes) -> None:
    # A letter on both sides: ldap3 strips blanks from the ends of a value.
    text = (b"(mail=x" + escape_filter(value) + b"x)").decode()
    (item,) = parse_filter(text, None, False, False, None, False).elements
    assert item.assertion["attr"] == "mail"
    assert prepare_filter_for_sending(item.assertion["value"]) == b"x" + value + b"x"


def test_values_are_filled_in_as_they_are_each_in_its_token_s_place() -> None:
    template = Template.parse("uid=%U,ou=%d,größe")
    assert template.fill([b"a,b", b"\xff"]) == b"uid=a,b,ou=\xff," + "größe".encode()
    assert Template.parse("ou=People").fill([]) == b"ou=People"


@pytest.mark.parametrize("values", [[], [b"a", b"b"]])
def test_no_value_is_left_out_and_none_is_left_over(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match="sequence of size"):
        Template.parse("uid=%U").fill(values)
