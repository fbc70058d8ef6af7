"""Filters over entries: what matches, what cannot be asked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.directory.content import Content
from pysaslauthd.directory.match import MAX_DEPTH, compile_filter
from pysaslauthd.directory.rules import case_ignore
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import ConfigError
from pysaslauthd.wire.ldif import Record, parse

PEOPLE = Content(
    parse(
        """\
dn: uid=penguin,dc=cxm
objectClass: inetOrgPerson
objectClass: mailRecipient
uid: penguin
mail: penguin@hoge.cxm
cn: Emperor  Penguin
cn;lang-ja: ペンギン
userPassword: Secret

dn: uid=locked,dc=cxm
objectClass: mailRecipient
uid: locked
mail: locked@hoge.cxm
mail: old@hoge.cxm
nsAccountLock: TRUE

dn: uid=free,dc=cxm
objectClass: inetOrgPerson
uid: free
cn: a*(b)\\c
nsAccountLock: false

dn: cn=staff,dc=cxm
objectClass: groupOfNames
cn: staff
member: uid=penguin,dc=cxm
member: UID=locked, DC=cxm
member: nonsense
""".encode()
    )
)


def found(text: str, *values: bytes, content: Content = PEOPLE) -> list[str]:
    candidates, check = compile_filter(Template.parse(text))(content, list(values))
    matching = {number for number in range(len(content.entries)) if check(number)}
    assert candidates is None or candidates >= matching
    return [content.entries[number].dn.decode().split(",")[0].split("=")[1] for number in sorted(matching)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("(mail=PENGUIN@hoge.cxm)", ["penguin"]),
        ("(mail=old@hoge.cxm)", ["locked"]),
        ("(MAIL=nobody)", []),
        ("(nosuch=x)", []),
        ("(cn=emperor penguin)", ["penguin"]),
        ("(cn=ペンギン)", ["penguin"]),
        ("(cn;lang-ja=ペンギン)", ["penguin"]),
        ("(cn;LANG-JA=*)", ["penguin"]),
        ("(cn;lang-de=ペンギン)", []),
        ("(cn;lang-ja=emperor penguin)", []),
        (r"(cn=a\2a\28b\29\5cc)", ["free"]),
        ("(userPassword=Secret)", ["penguin"]),
        ("(userPassword=secret)", []),
        ("(mail~=penguin@hoge.cxm)", ["penguin"]),
        ("(mail=*)", ["penguin", "locked"]),
        ("(nosuch=*)", []),
        ("(mail=pen*)", ["penguin"]),
        ("(mail=*@hoge.cxm)", ["penguin", "locked"]),
        ("(mail=*O*E*)", ["penguin", "locked"]),
        ("(mail=p*n*n@*m)", ["penguin"]),
        ("(mail=penguin@*@hoge.cxm)", []),
        ("(mail=*cxm*cxm)", []),
        ("(uid=free*free)", []),
        ("(cn=emperor *)", ["penguin"]),
        ("(cn=emp *)", []),
        ("(cn=*r p*)", ["penguin"]),
        (r"(cn=*\2a*)", ["free"]),
        ("(member=uid=PENGUIN, dc=cxm)", ["staff"]),
        ("(member=uid=locked,dc=cxm)", ["staff"]),
        ("(member=nonsense)", ["staff"]),
        ("(member=uid=free,dc=cxm)", []),
        ("(&(objectclass=mailRecipient)(mail=penguin@hoge.cxm))", ["penguin"]),
        ("(&(objectclass=inetOrgPerson)(mail=locked@hoge.cxm))", []),
        ("(|(uid=free)(uid=penguin)(uid=nobody))", ["penguin", "free"]),
        ("(|(uid=free)(mail=*))", ["penguin", "locked", "free"]),
        ("(&(objectclass=mailRecipient)(!(nsAccountLock=true)))", ["penguin"]),
        ("(!(nsAccountLock=true))", ["penguin", "free", "staff"]),
        ("(!(nosuch=x))", ["penguin", "locked", "free", "staff"]),
        ("(!(!(uid=free)))", ["free"]),
        ("(& (uid=free) (objectClass=inetOrgPerson) )", ["free"]),
    ],
)
def test_a_filter_finds_what_a_server_would(text: str, names: list[str]) -> None:
    assert found(text) == names


def test_tokens_take_their_values_from_left_to_right() -> None:
    text = "(&(mail=%U@%d)(|(cn=%s)(uid=p*%r*%1n)))"
    assert found(text, b"penguin", b"hoge.cxm", b"x", b"eng", b"i") == ["penguin"]
    assert found(text, b"penguin", b"hoge.cxm", b"x", b"i", b"eng") == []


@pytest.mark.parametrize(
    "value", [b"*", b"penguin*", b"*)(uid=*", b"penguin)(|(uid=free)", rb"pengu\69n", b"\x01", b"%u", b"\\"]
)
def test_a_value_is_never_syntax(value: bytes) -> None:
    assert found("(uid=%u)", value) == []
    assert found("(uid=*%u*)", value) == []


def test_a_value_may_hold_what_would_be_syntax() -> None:
    assert found("(cn=%u)", rb"A*(B)\C") == ["free"]
    assert found("(cn=*%u*)", rb"*(b)") == ["free"]


def test_a_token_without_value_never_widens_a_substring_filter() -> None:
    assert found("(mail=%u*)", b"") == []
    assert found("(mail=*%u*)", b"") == []
    assert found("(mail=p*%u)", b"") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mail=%u", "not a filter"),
        ("(mail=%u", "not a filter"),
        ("", "not a filter"),
        ("()", "not a filter"),
        ("(&)", "not a filter"),
        ("(mail)", "not a filter"),
        ("(a=b)(c=d)", "not a filter"),
        ("(a=b))((c=d)", "not a filter"),
        ("(!(a=b)(c=d))", "not a filter"),
        ("(!(&(a=b))(&(c=d)))", "takes one filter"),
        ("(uid>=5)", ">="),
        ("(uid<=5)", ">="),
        ("(uid:caseExactMatch:=x)", "extensible"),
        ("(ou:dn:=People)", "extensible"),
        ("(member=uid=*)", "part of its value"),
        ("(userPassword={SSHA}*)", "part of its value"),
        ("(%u=x)", "no token can be"),
        ("(c n=x)", "not the name of an attribute"),
        ("(mail=\x01)", "control character"),
        ("(!" * MAX_DEPTH + "(a=b)" + ")" * MAX_DEPTH, "nested"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        compile_filter(Template.parse(text))


@given(st.text(alphabet="()&|!*=~<>:\\2a %u\x01", max_size=40) | st.text(max_size=40).map("(a={})".format))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        template = Template.parse(text)
        evaluate = compile_filter(template)
    except ValueError:
        return
    _, check = evaluate(PEOPLE, [b"penguin"] * len(template.tokens))
    assert check(0) in (True, False)


attributes = st.sampled_from(["mail", "cn", "cn;lang-ja", "member", "userPassword", "nsAccountLock", "x"])
octets = st.sampled_from([b"", b" ", b"a", b"A", b"ab", b"true", b"dc=a", b"DC = a", b"\xff"]) | st.binary(max_size=4)
items = st.builds(str.format, st.sampled_from(["({}=%u)", "({}=*)", "({}~=%U)"]), attributes) | st.sampled_from(
    ["(cn=%u*)", "(cn=*%u*%d)", "(mail=a*%u*b)"]
)
filters = st.recursive(
    items,
    lambda inner: (
        inner.map("(!{})".format)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(&{''.join(parts)})")
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(|{''.join(parts)})")
    ),
    max_leaves=6,
)
contents = st.lists(
    st.dictionaries(attributes.map(str.lower), st.lists(octets, min_size=1, max_size=3), min_size=1), max_size=5
).map(lambda people: Content(Record(1, b"uid=%d" % number, person) for number, person in enumerate(people)))


@given(filters, contents, st.lists(octets, min_size=12, max_size=12))
def test_evaluation_never_raises_misses_nobody_and_negates(text: str, content: Content, values: list[bytes]) -> None:
    names = set(found(text, *values, content=content))
    everybody = {str(number) for number in range(len(content.entries))}
    assert set(found(f"(!{text})", *values, content=content)) == everybody - names
    used = values[: len(Template.parse(text).tokens)]
    assert set(found(f"(&{text}{text})", *used, *used, content=content)) == names
    assert set(found(f"(|{text}{text})", *used, *used, content=content)) == names


@given(contents, octets)
def test_equality_finds_exactly_the_entries_with_an_equal_value(content: Content, value: bytes) -> None:
    equal = [
        str(number)
        for number, entry in enumerate(content.entries)
        if case_ignore(value) in map(case_ignore, entry.attributes.get("mail", ()))
    ]
    assert found("(mail=%u)", value, content=content) == equal


@given(st.lists(st.sampled_from([b"a", b"b", b"ab", b"aa", b"ba"]), min_size=1, max_size=4), st.text("ab", max_size=8))
def test_substrings_are_found_in_order_and_without_overlap(pieces: list[bytes], value: str) -> None:
    content = Content([Record(1, b"uid=0", {"cn": [value.encode()]})])
    rest, wanted = value, True
    for piece in pieces:
        _, there, rest = rest.partition(piece.decode())
        wanted = wanted and bool(there)
    assert found("(cn=*" + "".join(f"{piece.decode()}*" for piece in pieces) + ")", content=content) == ["0"] * wanted


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"dn: dc=a\ndc: a\n\ndn: penguin\nuid: penguin\n", 4),
        (b"dn: dc=a\ndc: a\n\ndn: DC = A\ndc: a\n", 4),
        (b"dn:\ndc: a\n", 1),
    ],
)
def test_content_with_a_dn_that_is_none_or_there_already_is_refused_with_its_line(data: bytes, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Content(parse(data))
    assert caught.value.line == line
