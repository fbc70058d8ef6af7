"""Whom a real directory finds: one, several, nobody, an alias, a referral; each has its reason in the log."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rig import Daemon, DirectoryServer, Ds389, Slapd, article, people

METHODS = ["custom", "bind"]
REFERRAL = f"ou=elsewhere,{people.PEOPLE}"
ALIAS = f"uid=nickname,{people.PEOPLE}"


@pytest.fixture
def referring(server: DirectoryServer) -> Iterator[DirectoryServer]:
    """The server with a subtree that lives elsewhere."""
    anyone = '(targetattr="*")(version 3.0; acl "referral"; allow (read,search) userdn="ldap:///anyone";)'
    readable = f"aci: {anyone}\n" if isinstance(server, Ds389) else ""
    server.add(
        f"dn: {REFERRAL}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\n"
        f"ref: ldap://127.0.0.1:9/ou=elsewhere\n{readable}\n"
    )
    yield server
    server.modify(
        f"# a referral itself is meant\ndn: {REFERRAL}\ncontrol: 2.16.840.1.113730.3.4.2\nchangetype: delete\n"
    )


@pytest.fixture
def nicknamed(slapd: Slapd) -> Iterator[Slapd]:
    """With an alias of u1, which a filter finds like any entry."""
    slapd.add(
        f"dn: {ALIAS}\nobjectClass: alias\nobjectClass: extensibleObject\nuid: nickname\nmail: nickname@hoge.cxm\n"
        f"aliasedObjectName: {people.dn('u1')}\n\n"
    )
    yield slapd
    slapd.delete(ALIAS)


def refused(daemon: Daemon, login: str, password: str, reason: str, detail: str) -> None:
    assert daemon.ask(login, password) == b"NO"
    assert daemon.logged(f"[reason={reason}] [detail={detail}")


@pytest.mark.parametrize("method", METHODS)
def test_nobody_and_several(server: DirectoryServer, method: str) -> None:
    with Daemon.running(article(server, method)) as daemon:
        assert daemon.ask("nobody@hoge.cxm", "x") == b"NO"
        assert daemon.logged("[reason=unknown-user] [method=")
    either = "(|(mail=%U@%d)(mail=u1@hoge.cxm))"
    with Daemon.running(article(server, method, ldap_filter=either, ldap_size_limit="0")) as daemon:
        refused(daemon, "u0@hoge.cxm", "u0-pass", "ambiguous-user", "several entries match ldap_filter]")
    with Daemon.running(article(server, method, ldap_filter=either)) as daemon:
        beyond = "several entries match ldap_filter, more than ldap_size_limit lets through]"
        refused(daemon, "u0@hoge.cxm", "u0-pass", "ambiguous-user", beyond)


@pytest.mark.parametrize("method", METHODS)
def test_a_referral_is_no_user(referring: DirectoryServer, method: str) -> None:
    with Daemon.running(article(referring, method)) as daemon:
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"OK"
        assert daemon.ask("u0@hoge.cxm", "wrong") == b"NO"
        refused(daemon, "nobody@hoge.cxm", "x", "unknown-user", "no entry, but 1 referrals that are not followed]")


@pytest.mark.parametrize("method", METHODS)
def test_an_alias_is_followed_or_nobody(nicknamed: Slapd, method: str) -> None:
    login = "nickname@hoge.cxm"
    keys = {"ldap_filter": "(|(mail=%U@%d)(uid=%U))"}
    with Daemon.running(article(nicknamed, method, **keys)) as daemon:
        refused(daemon, login, "u1-pass", "unknown-user", "only an alias, which ldap_deref leaves as it is]")
        assert daemon.ask("u1@hoge.cxm", "u1-pass") == b"OK"
    base = {"ldap_search_base": ALIAS, "ldap_scope": "base", "ldap_filter": "(mail=u1@hoge.cxm)"}
    for deref, answer in {"find": b"OK", "always": b"OK", "never": b"NO", "search": b"NO"}.items():
        settings = article(nicknamed, method, **base, ldap_deref=deref)
        with Daemon.running({**settings, "ldap_filter": "(|(mail=u1@hoge.cxm)(uid=%U))"}) as daemon:
            assert daemon.ask(login, "u1-pass") == answer, deref
            assert daemon.ask(login, "wrong") == b"NO"


def test_an_entry_without_a_password_is_told_from_a_wrong_one(server: DirectoryServer) -> None:
    server.add(people.person("bare", []))
    try:
        with Daemon.running(article(server)) as daemon:
            why = "none stored, or none that the service account may read]"
            refused(daemon, "bare@hoge.cxm", "x", "no-password", why)
        with Daemon.running(article(server, "bind")) as daemon:
            assert daemon.ask("bare@hoge.cxm", "x") == b"NO"
            assert daemon.logged("[reason=wrong-password]")  # no server tells the difference
    finally:
        server.delete(people.dn("bare"))


def test_of_two_passwords_the_log_names_both_schemes(server: DirectoryServer) -> None:
    server.add(people.person("two", [people.ssha("one"), "{MD5}HApwAQzNzgz/e2vmbC86sA=="]))
    try:
        with Daemon.running(article(server)) as daemon:
            assert daemon.ask("two@hoge.cxm", "one") == b"OK"
            assert daemon.ask("two@hoge.cxm", people.PENGUIN_PASSWORD) == b"OK"
            assert daemon.ask("two@hoge.cxm", "three") == b"NO"
            assert daemon.logged("[reason=wrong-password] [detail=scheme ")
            (schemes,) = re.findall(r"detail=scheme (\w+ \w+)", daemon.log)
            assert {*schemes.split()} == {"SSHA", "MD5"}
    finally:
        server.delete(people.dn("two"))
