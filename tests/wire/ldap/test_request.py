"""Requests made from templates: octet for octet what ldap3 encodes, whatever the values are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ldap3 import SASL, SIMPLE
from ldap3.operation.bind import bind_operation
from ldap3.operation.compare import compare_operation
from ldap3.operation.search import search_operation
from ldap3.protocol.controls import build_control
from ldap3.protocol.convert import build_controls_list
from ldap3.protocol.rfc4511 import LDAPMessage, MessageID, ProtocolOp
from ldap3.utils.asn1 import encode

from pysaslauthd.wire.ldap import request
from pysaslauthd.wire.ldap.request import Control, RequestTemplate, UnencodableError
from rig import ldap_messages as messages

IDS = st.integers(request.FIRST_ID, request.LAST_ID)
VALUES = (
    st.binary(max_size=40)
    | st.binary(min_size=100, max_size=1000)
    | st.text("*()\\\0 =ä,&|!", max_size=9).map(str.encode)
)
FULL = VALUES.filter(bool)
EVERY_OCTET = bytes(range(256))
CONTROLS = (Control("1.2.3.4", critical=True, value=b"\0v"), Control(request.PASSWORD_POLICY))


def by_ldap3(name: str, operation: Any, message_id: int, controls: Sequence[Control] = ()) -> bytes:
    """What ldap3 encodes when it is given the values themselves."""
    message = LDAPMessage()
    message["messageID"] = MessageID(message_id)
    message["protocolOp"] = ProtocolOp().setComponentByName(name, operation)
    if controls:
        built = [build_control(each.oid, each.critical, each.value, encode_control_value=False) for each in controls]
        message["controls"] = build_controls_list(built)
    encoded: bytes = encode(message)
    return encoded


def search_by_ldap3(
    base: bytes, filter_: str, message_id: int, controls: Sequence[Control] = (), *, size: int = 0, time: int = 0
) -> bytes:
    operation = search_operation(base, filter_, "SUBTREE", 3, ["userPassword"], size, time, False, False, False)
    return by_ldap3("searchRequest", operation, message_id, controls)


def escaped(value: bytes) -> str:
    return "".join(f"\\{octet:02x}" for octet in value)


def search_template(
    base: Sequence[str], filter_: Sequence[str], controls: Sequence[Control] = (), *, size: int = 0, time: int = 0
) -> RequestTemplate:
    return request.search_template(
        base,
        filter_,
        scope="sub",
        attributes=["userPassword"],
        deref="always",
        size_limit=size,
        time_limit=time,
        controls=controls,
    )


ONE = search_template(["dc=hoge"], ["(&(objectclass=mailRecipient)(mail=", "))"])
SEVERAL = search_template(["ou=", ",dc=", ""], ["(|(mail=", "@", ")(!(uid=", ")))"], CONTROLS, size=2, time=5)
SUBSTRINGS = search_template(["dc=hoge"], ["(cn=a*", "b*", ")"])
BIND = request.simple_bind_template()
BIND_WITH_CONTROLS = request.simple_bind_template(2, CONTROLS)
COMPARE = request.compare_template("uniqueMember")


@given(IDS, VALUES)
@example(request.LAST_ID, EVERY_OCTET)
@example(request.FIRST_ID, b"")
def test_a_search_is_what_ldap3_encodes(message_id: int, value: bytes) -> None:
    filter_ = f"(&(objectclass=mailRecipient)(mail={escaped(value)}))"
    assert ONE.encode(message_id, [value]) == search_by_ldap3(b"dc=hoge", filter_, message_id)


@given(IDS, st.tuples(VALUES, VALUES, VALUES, VALUES, VALUES))
@example(request.FIRST_ID, (EVERY_OCTET,) * 5)
@example(request.FIRST_ID, (b"",) * 5)
def test_a_search_with_many_values_and_controls_is_what_ldap3_encodes(
    message_id: int, values: tuple[bytes, ...]
) -> None:
    one, two, user, domain, uid = values
    filter_ = f"(|(mail={escaped(user)}@{escaped(domain)})(!(uid={escaped(uid)})))"
    template = SEVERAL
    expected = search_by_ldap3(b"ou=" + one + b",dc=" + two, filter_, message_id, CONTROLS, size=2, time=5)
    assert template.encode(message_id, values) == expected


@given(IDS, FULL, FULL)
def test_a_substring_search_is_what_ldap3_encodes(message_id: int, one: bytes, other: bytes) -> None:
    filter_ = f"(cn=a*{escaped(one)}b*{escaped(other)})"
    assert SUBSTRINGS.encode(message_id, [one, other]) == search_by_ldap3(b"dc=hoge", filter_, message_id)


@given(IDS, FULL)
def test_adjacent_values_keep_their_order(message_id: int, value: bytes) -> None:
    template = search_template(["dc=hoge"], ["(mail=", "", ")"])
    expected = search_by_ldap3(b"dc=hoge", f"(mail={escaped(value)}zz)", message_id)
    assert template.encode(message_id, [value, b"zz"]) == expected


@given(IDS, st.text(min_size=1, max_size=300), FULL)
@example(request.FIRST_ID, "uid=penguin", b"x" * 4000)
@example(request.FIRST_ID, "uid=penguin", EVERY_OCTET)
def test_a_simple_bind_is_what_ldap3_encodes(message_id: int, dn: str, password: bytes) -> None:
    plain = by_ldap3("bindRequest", bind_operation(3, SIMPLE, dn, password), message_id)
    assert BIND.encode(message_id, [dn.encode(), password]) == plain
    controlled = by_ldap3("bindRequest", bind_operation(2, SIMPLE, dn, password), message_id, CONTROLS)
    assert BIND_WITH_CONTROLS.encode(message_id, [dn.encode(), password]) == controlled


@given(IDS, VALUES.filter(bool), VALUES.filter(bool))
def test_any_octets_arrive_in_a_bind_and_in_a_compare(message_id: int, dn: bytes, value: bytes) -> None:
    bind = {"version": 3, "name": dn, "simple": value}
    assert messages.decode(BIND.encode(message_id, [dn, value])) == (message_id, "bind", bind, {})
    compare = {"entry": dn, "ava": (b"uniqueMember", value)}
    assert messages.decode(COMPARE.encode(message_id, [dn, value])) == (message_id, "compare", compare, {})


@given(IDS, st.text(min_size=1, max_size=300), VALUES)
def test_a_compare_is_what_ldap3_encodes(message_id: int, dn: str, value: bytes) -> None:
    operation = compare_operation(dn, "uniqueMember", value, auto_encode=False)
    assert COMPARE.encode(message_id, [dn.encode(), value]) == by_ldap3("compareRequest", operation, message_id)


def test_a_search_without_values_or_attributes_asks_for_the_dn_alone() -> None:
    template = request.search_template(["dc=hoge"], ["(uid=penguin)"], scope="base", attributes=[])
    body = messages.decode(template.encode(request.FIRST_ID, []))[2]
    assert (body["attributes"], body["scope"], body["filter"]) == ([b"1.1"], 0, ("equalityMatch", (b"uid", b"penguin")))


@pytest.mark.parametrize(
    ("filter_", "values"),
    [
        (["(cn=*", ")"], [b""]),
        (["(cn=", "*)"], [b""]),
        (["(cn=*", "*)"], [b""]),
        (["(cn=*", "@hoge.cxm)"], [b""]),
        (["(|(uid=", ")(cn=a*", "*b))"], [b"x", b""]),
    ],
)
def test_an_empty_value_beside_an_asterisk_is_refused(filter_: list[str], values: list[bytes]) -> None:
    template = search_template(["dc=hoge"], filter_)
    with pytest.raises(UnencodableError, match="presence filter"):
        template.encode(request.FIRST_ID, values)
    template.encode(request.FIRST_ID, [b"x"] * len(values))


@pytest.mark.parametrize(
    "filter_",
    [
        "",
        "uid=penguin",
        "(uid=penguin",
        "(uid=penguin))",
        "(a=b)(c=d)",
        "(&(a=b)junk(c=d))",
        "((a=b))",
        "(&)",
        "(!(a=b)(c=d))",
        "(uid)",
        "(:=x)",
    ],
)
def test_an_invalid_filter_is_refused_in_a_few_words(filter_: str) -> None:
    with pytest.raises(UnencodableError) as refused:
        search_template(["dc=hoge"], [filter_])
    assert 0 < len(str(refused.value)) < 100
    assert refused.value.__cause__ is None or len(str(refused.value.__cause__)) < 100


@given(st.lists(st.sampled_from([*"()&|!=*\\ é\0", "cn", "a", ":dn:", ":=", "~=", ">=", "2a", "(a=b)"]), max_size=7))
def test_any_filter_is_taken_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    for filter_ in ([text], ["(" + text, ")"], ["(cn=", text + ")"]):
        values = [b"\xffmarked"] * (len(filter_) - 1)
        with contextlib.suppress(UnencodableError):
            encoded = search_template(["dc=hoge"], filter_).encode(request.FIRST_ID, values)
            assert encoded.count(b"\xffmarked") == len(values)


def test_a_value_that_would_stand_in_a_request_twice_is_refused() -> None:
    twice = RequestTemplate(lambda values: compare_operation("cn=x", values[0], values[0], auto_encode=False))
    with pytest.raises(UnencodableError, match="more often than in the template"):
        twice.encode(request.FIRST_ID, [b"P"])


def test_a_backslash_before_a_value_is_refused_because_it_would_swallow_the_value() -> None:
    with pytest.raises(UnencodableError, match="as it is"):
        search_template(["dc=hoge"], ["(cn=\\", ")"])


def test_pyasn1s_schema_is_in_no_message() -> None:
    with pytest.raises(UnencodableError) as refused:
        request.search_template(["dc=hoge"], ["(uid=x)"], scope="sub", attributes=[], size_limit=-1)
    assert str(refused.value) == "ldap3 cannot encode this request"
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("values", [[b"", b"secret"], [b"uid=penguin", b""]])
def test_a_bind_without_dn_or_password_is_refused(values: list[bytes]) -> None:
    with pytest.raises(UnencodableError):
        BIND.encode(request.FIRST_ID, values)


def test_the_shapes_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "MAX_SHAPES", 4)
    built = []

    def build(values: list[str]) -> Any:
        built.append(values)
        return compare_operation("dc=hoge", "cn", values[0], auto_encode=False)

    template = RequestTemplate(build)
    for length in (1, 2, 3, 4, 4, 3, 2, 1):
        template.encode(request.FIRST_ID, [b"x" * length])
    assert len(built) == 8  # two encodings for each shape, none again
    template.encode(request.FIRST_ID, [b"x" * 5])
    template.encode(request.FIRST_ID, [b"x" * 4])
    assert len(built) == 12  # the fifth took the place of the one not used for longest


@pytest.mark.parametrize(
    ("encoded", "operation", "body"),
    [
        (request.anonymous_bind(9), "bind", {"version": 3, "name": b"", "simple": b""}),
        (request.anonymous_bind(9, 2), "bind", {"version": 2, "name": b"", "simple": b""}),
        (request.extended(9, request.START_TLS), "extended", {"requestName": messages.START_TLS, "requestValue": b""}),
        (request.abandon(9, 0x01020304), "abandon", {"messageID": 0x01020304}),
        (request.unbind(9), "unbind", {}),
    ],
)
def test_the_rarer_requests_hold_what_they_should(encoded: bytes, operation: str, body: dict[str, Any]) -> None:
    assert messages.decode(encoded) == (9, operation, body, {})


@pytest.mark.parametrize("credentials", [b"", b"\0penguin\0\xff*()\\", EVERY_OCTET])
@pytest.mark.parametrize("mechanism", ["PLAIN", "EXTERNAL"])
def test_a_sasl_bind_holds_any_credentials(mechanism: str, credentials: bytes) -> None:
    body = {"version": 3, "name": b"", "mechanism": mechanism.encode(), "credentials": credentials}
    assert messages.decode(request.sasl_bind(9, mechanism, credentials)) == (9, "bind", body, {})
    assert request.sasl_bind(9, mechanism, credentials) == by_ldap3(
        "bindRequest", bind_operation(3, SASL, "", None, mechanism, credentials), 9
    )


def test_a_base_of_any_octets_arrives() -> None:
    template = search_template(["", ""], ["(uid=x)"])
    assert messages.decode(template.encode(request.FIRST_ID, [EVERY_OCTET]))[2]["baseObject"] == EVERY_OCTET
    assert messages.decode(template.encode(request.FIRST_ID, [b""]))[2]["baseObject"] == b""
