"""LDIF content records: what is read, what is refused, and where."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import ConfigError
from pysaslauthd.wire.ldif import Record, parse

PENGUIN = b"""\
version: 1

# The article's one user.
dn: uid=penguin,ou=People,dc=hoge,dc=cxm
objectClass: inetOrgPerson
objectClass: mailRecipient
mail: penguin@hoge.cxm
userPassword:: e1NTSEF9eA==
"""
ATTRIBUTES = {
    "objectclass": [b"inetOrgPerson", b"mailRecipient"],
    "mail": [b"penguin@hoge.cxm"],
    "userpassword": [b"{SSHA}x"],
}


def refusal(data: bytes) -> tuple[int | None, str]:
    with pytest.raises(ConfigError) as caught:
        list(parse(data))
    return caught.value.line, caught.value.reason


def test_an_entry_has_its_line_its_dn_and_its_values_by_lower_case_name() -> None:
    assert list(parse(PENGUIN)) == [Record(4, b"uid=penguin,ou=People,dc=hoge,dc=cxm", ATTRIBUTES)]


def test_line_ends_may_be_those_of_dos() -> None:
    assert list(parse(PENGUIN.replace(b"\n", b"\r\n"))) == list(parse(PENGUIN))


def test_neither_version_nor_last_line_end_is_needed() -> None:
    assert [record.attributes for record in parse(PENGUIN[12:-1])] == [ATTRIBUTES]


def test_blank_lines_part_entries_however_many_there_are() -> None:
    data = b"\n\ndn: dc=a\ndc: a\n\n\n\ndn: dc=b\ndc: b\n\n"
    assert [(record.line, record.dn) for record in parse(data)] == [(3, b"dc=a"), (8, b"dc=b")]


def test_a_line_is_continued_by_lines_that_begin_with_a_space_and_only_that_space_goes() -> None:
    (record,) = parse(b"dn: dc=a\ndes\n cription: one \n  two\n \n\n")
    assert record.attributes == {"description": [b"one  two"]}


def test_a_comment_may_stand_within_an_entry_and_is_continued_too() -> None:
    (record,) = parse(b"dn: dc=a\n# mail: no\n  nor: this\ndc: a\n")
    assert record.attributes == {"dc": [b"a"]}


def test_base64_may_be_folded_and_hold_any_octets_or_none() -> None:
    octets = bytes(range(256))
    text = base64.b64encode(octets)
    (record,) = parse(b"dn: dc=a\nx:: " + text[:50] + b"\n " + text[50:] + b"\ny::\nz:\n")
    assert record.attributes == {"x": [octets], "y": [b""], "z": [b""]}


def test_a_value_keeps_colons_utf8_and_blanks_at_its_end_but_not_at_its_beginning() -> None:
    (record,) = parse("dn: dc=a\ncn:   Größe: 5  \nmail;lang-DE:x\n".encode())
    assert record.attributes == {"cn": ["Größe: 5  ".encode()], "mail;lang-de": [b"x"]}


def test_the_dn_may_be_base64() -> None:
    (record,) = parse(b"dn:: " + base64.b64encode("cn=Jürgen".encode()) + b"\ncn: x\n")
    assert record.dn == "cn=Jürgen".encode()


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"dn: dc=a\nchangetype: modify\nreplace: x\n-\n", 2, "change record"),
        (b"dn: dc=a\ncontrol: 1.2.3 true\nchangetype: delete\n", 2, "change record"),
        (b"dn: dc=a\ndc: a\njpegPhoto:< file:///etc/passwd\n", 3, ":<"),
        (b"dn: dc=a\ndc: a\ndn: dc=b\n", 3, "second dn"),
        (b"dn: dc=a\ndc: a\n\nmail: x\n", 4, "begin with dn"),
        (b"dn: dc=a\ndc: a\nnonsense\n", 3, "no colon"),
        (b"dn: dc=a\ndc: a\n\n continued\n", 4, "continues nothing"),
        (b" continued\n", 1, "continues nothing"),
        (b"dn: dc=a\nx:: e1NTSEF9eA=\n", 2, "not base64"),
        (b"dn: dc=a\nx:: e1NT*SEF9eA==\n", 2, "not base64"),
        (b"dn: dc=a\nx y: z\n", 2, "name of an attribute"),
        (b"dn: dc=a\n: z\n", 2, "name of an attribute"),
        ("dn: dc=a\nä: z\n".encode(), 2, "name of an attribute"),
        (b"version: 2\n\ndn: dc=a\ndc: a\n", 1, "version 1"),
        (b"dn: dc=a\ndc: a\n\nversion: 1\n", 4, "begin with dn"),
        (b"\ndn: dc=a\n\ndn: dc=b\ndc: b\n", 2, "without attributes"),
        (b"dn: dc=a\n", 1, "without attributes"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(data: bytes, line: int, reason: str) -> None:
    found, text = refusal(data)
    assert found == line
    assert reason in text


@pytest.mark.parametrize(
    "broken",
    [b"dn: dc=a\nx: y\nhunter2\n", b"dn: dc=a\nhunter2: y:\n -\n", b"dn: dc=a\nx:: hunter2\n", b"hunter2: x\n"],
)
def test_no_refusal_quotes_the_line_which_may_be_half_a_password(broken: bytes) -> None:
    broken = broken.replace(b"hunter2: y:", b"hunter2=: y")
    assert "hunter2" not in refusal(broken)[1]


def test_entries_before_the_broken_one_are_yielded() -> None:
    records = parse(b"dn: dc=a\ndc: a\n\nbroken\n")
    assert next(records).dn == b"dc=a"
    with pytest.raises(ConfigError):
        next(records)


@given(st.binary(max_size=200) | st.text(alphabet="dn:ax =\n\r#<;-1version", max_size=100).map(str.encode))
def test_any_bytes_are_entries_or_refused_with_a_line_of_theirs(data: bytes) -> None:
    line: int | None = 1
    try:
        for record in parse(data):
            assert record.attributes
    except ConfigError as error:
        line = error.line
    assert line in range(1, data.count(b"\n") + 2)


names = st.sampled_from(["mail", "userpassword", "cn;lang-de", "2.5.4.3", "x-y"])
values = st.lists(st.binary(max_size=40), min_size=1, max_size=3)
entries = st.lists(st.tuples(st.binary(max_size=40), st.dictionaries(names, values, min_size=1)), max_size=4)


@given(entries, st.integers(1, 80), st.sampled_from([b"\n", b"\r\n"]))
def test_entries_written_in_base64_and_folded_anywhere_come_back(
    wanted: list[tuple[bytes, dict[str, list[bytes]]]], width: int, end: bytes
) -> None:
    def line(name: str, value: bytes) -> bytes:
        text = name.encode() + b":: " + base64.b64encode(value)
        return (end + b" ").join(text[at : at + width] for at in range(0, len(text), width)) + end

    data = end.join(
        line("dn", dn) + b"".join(line(name, value) for name, values in attributes.items() for value in values)
        for dn, attributes in wanted
    )
    assert [(record.dn, record.attributes) for record in parse(data)] == wanted
