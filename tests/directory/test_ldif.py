"""An LDIF file as a directory: search, compare, bind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from pysaslauthd import flow
from pysaslauthd.directory.interface import Bound, Directory, Found, Query
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryError, DirectoryRefused
from pysaslauthd.model import AuthRequest, Identity, identify
from rig import people

T = TypeVar("T")

SLOW = (
    "{PBKDF2-SHA512}10000$dbsc4waxm+qiOplqtva79fF3XH8BlVaK$"
    "vs0hNtiR1sgCviYVO+Xk4a2GmWC5olhaAjyOdM3sAWSh+mvtRaeYoK2IS4hDF3kFYy+UYlM6gjWK4yf/eZ7wpA=="
)
"""``penguin-pass``."""
STAFF = f"cn=staff,{people.SUFFIX}"
TREE = (
    people.tree(3)
    + people.person("clear", "clear-pass")
    + people.person("slow", SLOW)
    + people.person("two", ["{FOO}bar", "{SSHA}broken", people.ssha("two-pass")])
    + people.person("unknown", "{FOO}bar")
    + people.person("costly", SLOW.replace("10000$", "2000000000$"))
    + people.person("none", [])
    + people.person("empty", "")
    + people.person("locked", more="nsAccountLock: TRUE\n")
    + people.person("unlocked", more="nsAccountLock: false\n")
    + f"dn: uid=deep,ou=Sub,{people.PEOPLE}\nobjectClass: mailRecipient\nuid: deep\n"
    + "mail: deep@hoge.cxm\nmail;x-alias: alias@hoge.cxm\n\n"
    + f"dn: {STAFF}\nobjectClass: groupOfNames\ncn: staff\nmember: {people.PENGUIN_DN.upper()}\n"
)


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.ldif"
    path.write_text(TREE)
    path.chmod(0o600)
    return path


@pytest.fixture
def directory(file: Path, threads: Executor) -> Directory:
    return LdifDirectory(str(file), threads)


def run(work: flow.Flow[T]) -> T:
    async def main() -> T:
        return await flow.future(work)

    return asyncio.run(main())


def query(
    filter_: str = "(&(objectclass=mailRecipient)(mail=%U@%d))",
    base: str = people.SUFFIX,
    scope: str = "sub",
    *attributes: str,
    **more: int | str,
) -> Query:
    return Query(Template.parse(base), Template.parse(filter_), scope, attributes or ("mail",), **more)  # type: ignore[arg-type]  # a test names each as it is


def who(login: str = people.PENGUIN) -> Identity:
    return identify(AuthRequest(login.encode(), b""))


def names(found: Found) -> list[str]:
    return [entry.dn.decode().split(",")[0].split("=")[1] for entry in found.entries]


def test_a_search_finds_the_entry_with_the_attributes_that_were_asked_for(directory: Directory) -> None:
    found = run(directory.search(query("(mail=%u)", people.PEOPLE, "sub", "MAIL", "uid", "nosuch"), who()))
    ((dn, attributes, _),) = found.entries
    assert dn == people.PENGUIN_DN.encode()
    assert attributes == {"mail": [b"penguin@hoge.cxm"], "uid": [b"penguin"]}
    assert (found.size_limit_exceeded, found.references) == (False, 0)


def test_an_attribute_brings_its_subtypes(directory: Directory) -> None:
    ((_, attributes, _),) = run(directory.search(query("(mail=alias@hoge.cxm)"), who())).entries
    assert attributes == {"mail": [b"deep@hoge.cxm"], "mail;x-alias": [b"alias@hoge.cxm"]}


def test_one_dot_one_brings_no_attribute_and_the_star_all(directory: Directory) -> None:
    ((_, none, _),) = run(directory.search(query("(uid=locked)", people.SUFFIX, "sub", "1.1"), who())).entries
    ((_, every, _),) = run(directory.search(query("(uid=locked)", people.SUFFIX, "sub", "*"), who())).entries
    assert none == {}
    assert set(every) == {"objectclass", "uid", "cn", "sn", "mail", "userpassword", "nsaccountlock"}


@pytest.mark.parametrize(
    ("base", "scope", "found"),
    [
        (people.SUFFIX, "sub", ["penguin", "deep"]),
        ("DC=HOGE, dc=cxm", "sub", ["penguin", "deep"]),
        (people.PEOPLE, "sub", ["penguin", "deep"]),
        (people.PEOPLE, "one", ["penguin"]),
        (people.PEOPLE, "base", []),
        (people.PENGUIN_DN, "base", ["penguin"]),
        (people.PENGUIN_DN, "sub", ["penguin"]),
        (people.PENGUIN_DN, "one", []),
        (people.SUFFIX, "one", []),
        ("ou=Nobody,dc=hoge,dc=cxm", "sub", []),
        ("ou=Nobody,dc=hoge,dc=cxm", "base", []),
        ("", "sub", ["penguin", "deep"]),
        ("", "base", []),
    ],
)
def test_base_and_scope_bound_a_search(directory: Directory, base: str, scope: str, found: list[str]) -> None:
    asked = query("(|(uid=penguin)(uid=deep))", base, scope)
    assert names(run(directory.search(asked, who()))) == found


def test_a_scan_of_all_entries_keeps_to_base_and_scope_too(directory: Directory) -> None:
    assert names(run(directory.search(query("(!(mail=*))", people.SUFFIX, "one"), who()))) == [
        "userretriever",
        "People",
        "staff",
    ]


def test_a_base_with_tokens_takes_their_values_as_values(directory: Directory) -> None:
    asked = query("(objectclass=*)", f"uid=%U,ou=People,{people.SUFFIX}", "base")
    assert names(run(directory.search(asked, who()))) == ["penguin"]
    assert names(run(directory.search(asked, who("@hoge.cxm")))) == []
    upper = query("(objectclass=*)", f"uid=%U,{people.SUFFIX}", "base")
    assert names(run(directory.search(upper, who("penguin,ou=People@hoge.cxm")))) == []
    member = query("(objectclass=*)", "%D", "base")
    assert names(run(directory.search(member, who(), people.PENGUIN_DN.encode()))) == ["penguin"]


def test_a_group_is_found_by_its_members_dn(directory: Directory) -> None:
    asked = query("(&(objectclass=groupOfNames)(member=%D))")
    assert names(run(directory.search(asked, who(), people.PENGUIN_DN.encode()))) == ["staff"]
    assert names(run(directory.search(asked, who(), people.dn("u0").encode()))) == []


@pytest.mark.parametrize(("limit", "exceeded"), [(0, False), (2, True), (3, False)])
def test_more_entries_than_the_size_limit_are_told_and_left_out(
    directory: Directory, limit: int, exceeded: bool
) -> None:
    found = run(directory.search(query("(|(uid=u0)(uid=u1)(uid=u2))", size_limit=limit), who()))
    assert len(found.entries) == (limit or 3)
    assert found.size_limit_exceeded is exceeded


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query("(mail>=%u)"), "filter (mail>=%u): an LDIF file has no schema"),
        (query("(mail=%u)", "penguin"), "search base penguin is not a DN"),
        (query("(mail=%u)", deref="always"), "ldap_deref"),
    ],
)
def test_what_cannot_be_honoured_is_refused_when_prepared_and_when_asked(
    tmp_path: Path, threads: Executor, asked: Query, reason: str
) -> None:
    (tmp_path / "f").write_text("dn: dc=a\ndc: a\n")
    directory = LdifDirectory(str(tmp_path / "f"), threads)
    with pytest.raises(ValueError, match=r".") as at_start:
        directory.prepare(asked)
    with pytest.raises(DirectoryError) as later:
        run(directory.search(asked, who()))
    assert reason in str(at_start.value)
    assert str(later.value) == str(at_start.value)


@pytest.mark.parametrize(
    ("dn", "attribute", "value", "held"),
    [
        (STAFF, "member", people.PENGUIN_DN, True),
        (STAFF.upper(), "MEMBER", people.PENGUIN_DN, True),
        (STAFF, "member", people.dn("u0"), False),
        (people.PENGUIN_DN, "mail", "PENGUIN@hoge.cxm", True),
        (people.PENGUIN_DN, "mail", "u0@hoge.cxm", False),
        (people.dn("clear"), "userPassword", "clear-pass", True),
        (people.dn("clear"), "userPassword", "Clear-pass", False),
        (people.PENGUIN_DN, "nosuch", "x", False),
        (people.dn("nobody"), "mail", "penguin@hoge.cxm", False),
        ("nonsense", "mail", "x", False),
    ],
)
def test_compare_goes_by_the_attributes_rule(
    directory: Directory, dn: str, attribute: str, value: str, held: bool
) -> None:
    assert run(directory.compare(dn.encode(), attribute, value.encode())) is held


@pytest.mark.parametrize(
    ("uid", "password", "code"),
    [
        ("penguin", "penguin-pass", 0),
        ("PENGUIN", "penguin-pass", 0),
        ("penguin", "Penguin-pass", 49),
        ("penguin", "", 53),
        ("empty", "", 53),
        ("empty", "x", 49),
        ("clear", "clear-pass", 0),
        ("slow", "penguin-pass", 0),
        ("slow", "wrong", 49),
        ("two", "two-pass", 0),
        ("two", "{FOO}bar", 49),
        ("unknown", "{FOO}bar", 49),
        ("none", "none-pass", 49),
        ("nobody", "nobody-pass", 49),
        ("unlocked", "unlocked-pass", 0),
        ("locked", "locked-pass", 53),
        ("locked", "wrong", 53),
    ],
)
def test_a_bind_answers_with_the_codes_of_a_server(directory: Directory, uid: str, password: str, code: int) -> None:
    assert run(directory.bind(people.dn(uid).encode(), password.encode())).code == code


def test_a_locked_account_is_called_inactivated_and_an_unknown_scheme_named(directory: Directory) -> None:
    locked = run(directory.bind(people.dn("locked").encode(), b"locked-pass"))
    assert locked == Bound(53, "Account inactivated. Contact system administrator.")
    assert "{FOO}" in run(directory.bind(people.dn("unknown").encode(), b"x")).message
    assert run(directory.bind(b"nonsense", b"x")) == Bound(49)


def test_a_hash_that_cannot_be_checked_is_no_wrong_password(directory: Directory) -> None:
    with pytest.raises(DirectoryRefused) as caught:
        run(directory.bind(people.dn("costly").encode(), b"x"))
    assert caught.value.code == 80


def test_a_hash_over_the_limit_is_not_tried(file: Path, threads: Executor) -> None:
    directory = LdifDirectory(str(file), threads, hash_limit=0.1)
    with pytest.raises(DirectoryRefused, match="hash-too-costly"):
        run(directory.bind(people.dn("slow").encode(), b"penguin-pass"))
    assert run(directory.bind(people.PENGUIN_DN.encode(), b"penguin-pass")).code == 0


def test_a_slow_hash_leaves_the_event_loop_free(directory: Directory) -> None:
    async def main() -> list[str]:
        order = list[str]()
        slow = flow.future(directory.bind(people.dn("slow").encode(), b"penguin-pass"))
        quick = flow.future(directory.bind(people.PENGUIN_DN.encode(), b"penguin-pass"))
        slow.add_done_callback(lambda _: order.append("slow"))
        quick.add_done_callback(lambda _: order.append("quick"))
        await asyncio.gather(slow, quick)
        return order

    assert asyncio.run(main()) == ["quick", "slow"]


def test_a_sasl_bind_is_refused(directory: Directory) -> None:
    with pytest.raises(DirectoryRefused, match="no SASL"):
        run(directory.bind_plain(b"penguin", b"penguin-pass"))


def test_a_search_by_equality_takes_no_longer_among_many_entries(tmp_path: Path, threads: Executor) -> None:
    asked = query()

    def seconds(users: int) -> float:
        file = tmp_path / str(users)
        plain = [people.person(f"u{number}", "x") for number in range(users)]
        file.write_text("".join(plain))
        directory = LdifDirectory(str(file), threads)
        directory.prepare(asked)
        identity = who(f"u{users - 1}@hoge.cxm")

        async def main() -> float:
            best = 1.0
            for _ in range(20):
                start = time.perf_counter()
                found = await flow.future(directory.search(asked, identity))
                best = min(best, time.perf_counter() - start)
                assert len(found.entries) == 1
            return best

        return asyncio.run(main())

    # A scan of 2,000 entries takes a hundred times as long as one of 20.
    assert seconds(2000) < 5 * seconds(20)
