from __future__ import annotations

import asyncio

import pytest

from mechanisms.fake import FakeDirectory, entry, found, settings
from pysaslauthd.directory.interface import Found
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryRefused
from pysaslauthd.flow import future
from pysaslauthd.mechanisms.visibility import Sight, look, looked_for
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY, EFFECTIVE_RIGHTS
from rig import people

ALL = "nsAccountLock:rsc, userPassword:rs, passwordExpirationTime:rs"
USABLE = {ACCOUNT_USABILITY: bytes.fromhex("800100")}
NO_RIGHT = DirectoryRefused(50, "search: Insufficient access rights")


def see(*answers: Found | DirectoryError, **keys: str) -> Sight:
    directory = FakeDirectory(*answers)

    async def once() -> Sight:
        return await future(look(settings(**keys), directory))

    return asyncio.run(once())


def rights(listed: str) -> Found:
    return found(entry(attributeLevelRights=listed))


def test_whoever_sees_all_is_told_so() -> None:
    assert see(found(entry(USABLE)), rights(ALL)) == (True, "the service account sees locks, expiry and must-change")


@pytest.mark.parametrize(
    ("usability", "listed", "unseen", "acis"),
    [
        (found(entry(USABLE)), ALL.replace("nsAccountLock:rsc", "nsAccountLock:none"), ["nsAccountLock (locked"], 1),
        (found(entry(USABLE)), ALL.replace("nsAccountLock:rsc", "nsAccountLock:sc"), ["nsAccountLock (locked"], 1),
        (found(entry(USABLE)), "userPassword:rs", ["nsAccountLock (locked", "passwordExpirationTime (all"], 1),
        (NO_RIGHT, ALL, ["the password policy's verdict"], 2),
        (found(entry()), ALL, ["the password policy's verdict"], 2),
        (NO_RIGHT, "nsAccountLock:none", ["nsAccountLock (locked", "the password policy's verdict"], 2),
    ],
)
def test_what_is_not_seen_is_named_with_the_acis_that_mend_it(
    usability: Found | DirectoryError, listed: str, unseen: list[str], acis: int
) -> None:
    seen, text = see(usability, rights(listed))
    assert seen is False
    assert text.startswith("the service account may not see ")
    assert all(each in text for each in unseen)
    assert text.count("(locked") + text.count("verdict") + text.count("(all") == len(unseen)
    assert text.count(f'userdn="ldap:///{people.SERVICE_DN}"') == acis
    assert f"to {people.PEOPLE} add aci: (targetattr=" in text
    assert (f"to oid={ACCOUNT_USABILITY},cn=features,cn=config add aci: " in text) == (acis == 2)
    assert "\n" not in text


def test_who_searches_as_nobody_is_anyone() -> None:
    sight = see(found(entry(USABLE)), rights("nsAccountLock:none"), ldap_bind_dn="", ldap_password="")
    assert 'userdn="ldap:///anyone"' in sight.text


def test_a_directory_that_applies_its_policy_for_others_is_enough() -> None:
    assert see(found(entry(USABLE)), found(entry())).seen is True


@pytest.mark.parametrize(
    ("answers", "keys", "why"),
    [
        ([found(entry())], {}, "neither tells rights nor applies its policy"),
        ([found()], {}, "finds no user"),
        ([NO_RIGHT, found()], {}, "finds no user"),
        ([DirectoryDown("nobody there")], {}, "nobody there"),
        ([found(entry()), NO_RIGHT], {}, "Insufficient access rights"),
        ([found()], {"ldap_search_base": "ou=People,dc=%2,dc=%1"}, "ldap_search_base has tokens"),
    ],
)
def test_what_cannot_be_told_is_neither_yes_nor_no(
    answers: list[Found | DirectoryError], keys: dict[str, str], why: str
) -> None:
    seen, text = see(*answers, **keys)
    assert seen is None
    assert text.startswith("whether the service account sees locked accounts cannot be told: ")
    assert why in text


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("(mail=%U@%d)", "(mail=*)"),
        ("(&(objectclass=mailRecipient)(mail=%U@%d))", "(&(objectclass=mailRecipient)(mail=*))"),
        ("(|(uid=%u)(mail=%u)(cn>=a%%))", "(|(uid=*)(mail=*)(cn>=a%))"),
        ("(&(uid=%u)(!(ou=%s)))", "(&(uid=*)(!(ou=*)))"),
    ],
)
def test_any_user_will_do(written: str, asked: str) -> None:
    directory = FakeDirectory(found(entry(USABLE)), rights(ALL))

    async def once() -> Sight:
        return await future(look(settings(ldap_filter=written, ldap_size_limit="5"), directory))

    asyncio.run(once())
    assert [("".join(query.filter.literals), query.filter.tokens) for query, _, _ in directory.searches] == [
        (asked, ())
    ] * 2
    (usability, _, _), (effective, _, _) = directory.searches
    assert usability.size_limit == effective.size_limit == 1
    assert [(control.oid, control.critical, control.value) for control in effective.controls] == [
        (EFFECTIVE_RIGHTS, False, b"dn:" + people.SERVICE_DN.encode())
    ]


def test_rights_are_not_asked_for_without_a_dn() -> None:
    sasl = {"ldap_use_sasl": "yes", "ldap_mech": "EXTERNAL", "ldap_servers": "ldapi://%2Frun%2Fldapi"}
    sasl |= {"ldap_bind_dn": "", "ldap_password": ""}
    assert see(found(entry(USABLE)), **sasl).seen is True


def test_it_matters_where_custom_looks_at_the_state() -> None:
    assert looked_for(settings())
    assert not looked_for(settings(ldap_account_state="no"))
    assert not looked_for(settings("bind"))
