"""Under which names a watch tells of what an accepted login hangs on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mechanisms.fake import PENGUIN, FakeDirectory, check, entry, found, settings
from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.interface import Bound, Entry, Found
from pysaslauthd.directory.names import name_of
from pysaslauthd.errors import DirectoryDown
from pysaslauthd.model import Outcome, Reason
from rig import people

STORED = people.PENGUIN_PASSWORD
NAME = name_of(PENGUIN)
UUID = "9ad84d40-7c28-1041-86a9-f9bbd50c5122"
UUID_NAME = b"9ad84d407c28104186a9f9bbd50c5122"
GROUP = f"cn=mail,ou=Groups,{people.SUFFIX}"
GROUP_NAME = name_of(GROUP.encode())
GROUP_ENTRY = Found([Entry(GROUP.encode(), {"entryuuid": [b"A" * 36]})])
GROUP_NAMES = (GROUP_NAME, b"a" * 36)
FASTBIND = {"ldap_filter": f"uid=%U,{people.PEOPLE}", "ldap_search_base": ""}


def watched(method: str = "custom", **keys: str) -> LdapSettings:
    return settings(method, ldap_watch="yes", **keys)


def user(**more: Any) -> Found:
    return found(entry(userPassword=STORED, entryUUID=UUID, **more))


def test_without_a_watch_nothing_is_asked_for_and_nothing_named() -> None:
    directory = FakeDirectory(user())
    assert check(directory, settings()).names == ()
    assert "entryUUID" not in directory.searches[0][0].attributes


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_the_search_for_the_user_brings_the_uuid_along(method: str) -> None:
    directory = FakeDirectory(user())
    assert check(directory, watched(method)).names == (NAME, UUID_NAME)
    assert "entryUUID" in directory.searches[0][0].attributes
    assert len(directory.searches) == 1


def test_without_a_uuid_the_dn_alone_names_an_entry() -> None:
    assert check(FakeDirectory(found(entry(userPassword=STORED))), watched()).names == (NAME,)


def test_after_a_fastbind_the_entry_is_looked_for_as_the_server_writes_it() -> None:
    directory = FakeDirectory(found(Entry(b"UID=Penguin, ou=People,dc=hoge,dc=cxm", {"entryuuid": [UUID.encode()]})))
    assert check(directory, watched("fastbind", **FASTBIND)).names == (NAME, UUID_NAME)
    query, _, dn = directory.searches[0]
    assert (query.scope, query.filter.literals, query.base.tokens, dn) == (
        "base",
        ("(objectClass=*)",),
        ("D",),
        PENGUIN,
    )


@pytest.mark.parametrize("answer", [Found([]), DirectoryDown("down")])
def test_who_cannot_be_seen_is_let_in_and_not_named(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    outcome = check(FakeDirectory(answer), watched("fastbind", **FASTBIND))
    assert (outcome.reason, outcome.names) == (Reason.OK, ())
    assert ("the service account does not see uid=penguin" in caplog.text) == (answer == Found([]))


def test_who_is_found_outside_of_what_is_watched_is_not_named() -> None:
    away = found(Entry(f"uid=penguin,ou=Former,{people.SUFFIX}".encode(), {}))
    assert check(FakeDirectory(away), watched("fastbind", **FASTBIND)).names == ()


@pytest.mark.parametrize("keys", [{"referrals": True}, {"deref": "always"}])
def test_who_may_be_changed_where_nobody_watches_is_not_named(keys: dict[str, Any]) -> None:
    assert check(FakeDirectory(user()), replace(watched(), **keys)).names == ()


def test_who_is_refused_is_not_looked_for() -> None:
    directory = FakeDirectory(found(), bound=Bound(49))
    assert check(directory, watched("fastbind", **FASTBIND)) == Outcome(
        Reason.WRONG_PASSWORD, "bind: result 49 (invalidCredentials)", PENGUIN
    )
    assert directory.searches == []


def test_a_login_hangs_on_the_group_that_let_it_in() -> None:
    directory = FakeDirectory(user(), GROUP_ENTRY, member=True)
    outcome = check(directory, watched(ldap_group_dn=GROUP))
    assert (outcome.group, outcome.names) == (GROUP.encode(), (NAME, UUID_NAME, *GROUP_NAMES))
    directory = FakeDirectory(user(), GROUP_ENTRY)
    by_filter = watched(
        ldap_group_match_method="filter", ldap_group_filter="(member=%D)", ldap_group_search_base=people.SUFFIX
    )
    outcome = check(directory, by_filter)
    assert (outcome.group, outcome.names) == (GROUP.encode(), (NAME, UUID_NAME, *GROUP_NAMES))


def test_with_a_group_that_cannot_be_seen_not_all_can_be_told() -> None:
    directory = FakeDirectory(user(), found(), member=True)
    outcome = check(directory, watched(ldap_group_dn=GROUP))
    assert (outcome.reason, outcome.names) == (Reason.OK, ())


def test_the_group_of_memberof_need_not_be_seen() -> None:
    directory = FakeDirectory(user(memberOf=[GROUP]))
    outcome = check(directory, watched(ldap_group_dn=GROUP, ldap_group_match_method="memberof"))
    assert outcome.names == (NAME, UUID_NAME, GROUP_NAME)
    assert len(directory.searches) == 1
