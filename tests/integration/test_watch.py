"""Cached logins and a directory that tells of changes: what changes is out before the next login is answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article, people
from rig.needs import need
from rig.programs import find, run, wait_until
from rig.relay import Loss, Relay

METHODS = ("custom", "bind", "fastbind")
FASTBIND = {"ldap_filter": f"uid=%U,{people.PEOPLE}"}
GROUPS = f"ou=Groups,{people.SUFFIX}"
GROUP = f"cn=mail,{GROUPS}"
PROMISE = 8.0
"""Seconds within which what has changed is out: at once, but a machine may be busy. By default the grace is longer."""
GRACE = 2.0
SEE_GROUPS = (
    f"dn: {people.SUFFIX}\nchangetype: modify\nadd: aci\n"
    'aci: (targetattr="objectClass || uniqueMember")(version 3.0; acl "watch"; allow (read,search,compare)'
    f' userdn="ldap:///{people.SERVICE_DN}";)\n'
)
COVERED = "cached logins: every change of the directory is told"


@contextmanager
def watching(server: DirectoryServer, method: str = "custom", **keys: str) -> Iterator[Daemon]:
    """A daemon whose watch has begun."""
    more = {"ldap_watch": "yes", **(FASTBIND if method == "fastbind" else {}), **keys}
    with Daemon.running(article(server, method, **more), "-c", "-t", "3600", "-V") as daemon:
        wait_until(lambda: COVERED in daemon.log, "the watch")
        yield daemon


@contextmanager
def somebody(server: DirectoryServer, uid: str) -> Iterator[tuple[str, str]]:
    """A person of one's own: login and password."""
    server.add(people.person(uid))
    try:
        yield f"{uid}@hoge.cxm", f"{uid}-pass"
    finally:
        for dn in (people.dn(uid), people.dn(f"{uid}-new")):
            if server.search("(objectClass=*)", "1.1", base=people.PEOPLE).lower().find(f"dn: {dn}\n".lower()) >= 0:
                server.delete(dn)


def cache(daemon: Daemon, login: str, password: str) -> None:
    """Log in until the cache answers."""

    def cached() -> bool:
        before = daemon.log.count(f"(cached): [user={login}]")
        assert daemon.ask(login, password) == b"OK"
        return daemon.log.count(f"(cached): [user={login}]") > before

    wait_until(cached, "a cached login")


def out(daemon: Daemon, login: str, password: str, within: float = PROMISE) -> float:
    """Seconds until the login is let in no more, for good."""
    began = time.monotonic()
    wait_until(lambda: daemon.ask(login, password) != b"OK", "the end of a cached login", within)
    seconds = time.monotonic() - began
    assert daemon.ask(login, password) != b"OK"
    return seconds


def asked_anew(daemon: Daemon, login: str, password: str) -> None:
    """The login is still good, but it is the directory that says so, after the first time that it was asked."""

    def asked() -> bool:
        assert daemon.ask(login, password) == b"OK"
        return daemon.log.count(f"auth success: [user={login}]") > 1

    wait_until(asked, "a question to the directory", PROMISE)


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_password_is_out_and_the_new_one_in(server: DirectoryServer, method: str) -> None:
    need("ldapmodify")
    uid = f"changing-{method}"
    with somebody(server, uid) as (login, password), watching(server, method) as daemon:
        old = password
        for new in ("second", "third"):
            cache(daemon, login, old)
            passwd = Path(find("ldapmodify")).with_name("ldappasswd")
            # 389 DS changes no password in clear; over ldapi it need not be.
            administrator = ["-x", "-D", server.admin_dn, "-w", server.admin_password]
            run([passwd, "-H", server.ldapi_uri, *administrator, "-s", new, people.dn(uid)])
            out(daemon, login, old)
            assert daemon.ask(login, new) == b"OK"
            old = new


@pytest.mark.parametrize("method", METHODS)
def test_a_locked_account_is_out(ds389: Ds389, method: str) -> None:
    with somebody(ds389, "locked-now") as (login, password), watching(ds389, method) as daemon:
        cache(daemon, login, password)
        ds389.replace(people.dn("locked-now"), "nsAccountLock", "true")
        out(daemon, login, password)


@pytest.mark.parametrize("method", METHODS)
def test_who_is_deleted_is_out(server: DirectoryServer, method: str) -> None:
    with somebody(server, "leaving") as (login, password), watching(server, method) as daemon:
        cache(daemon, login, password)
        server.delete(people.dn("leaving"))
        out(daemon, login, password)


@pytest.mark.parametrize("method", METHODS)
def test_who_is_renamed_is_asked_about_anew(server: DirectoryServer, method: str) -> None:
    rename = f"dn: {people.dn('renamed')}\nchangetype: modrdn\nnewrdn: uid=renamed-new\ndeleteoldrdn: 1\n"
    with somebody(server, "renamed") as (login, password), watching(server, method) as daemon:
        cache(daemon, login, password)
        server.modify(rename + f"\ndn: {people.dn('renamed-new')}\nchangetype: modify\nreplace: mail\nmail: x@y.z\n")
        out(daemon, login, password)


def test_who_is_renamed_and_nothing_else_is_asked_about_anew(server: DirectoryServer) -> None:
    with somebody(server, "moved") as (login, password), watching(server) as daemon:
        cache(daemon, login, password)
        server.modify(f"dn: {people.dn('moved')}\nchangetype: modrdn\nnewrdn: uid=moved-new\ndeleteoldrdn: 1\n")
        asked_anew(daemon, login, password)


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_who_is_moved_away_is_out(authority: Authority, kind: type[DirectoryServer]) -> None:
    away = f"ou=Former,{people.SUFFIX}"
    with kind(authority) as server:
        server.add(f"dn: {away}\nobjectClass: organizationalUnit\nou: Former\n")
        if kind is Ds389:
            server.modify(SEE_GROUPS)
        with watching(server) as daemon:
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            server.modify(
                f"dn: {people.PENGUIN_DN}\nchangetype: modrdn\nnewrdn: uid=penguin\ndeleteoldrdn: 0\n"
                f"newsuperior: {away}\n"
            )
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_with_a_branch_all_in_it_are_renamed(authority: Authority, kind: type[DirectoryServer]) -> None:
    branch = f"ou=Staff,{people.PEOPLE}"
    person = people.person("inside").replace(people.dn("inside"), f"uid=inside,{branch}")
    with kind(authority) as server:
        server.add(f"dn: {branch}\nobjectClass: organizationalUnit\nou: Staff\n\n{person}")
        if kind is Ds389:
            server.modify(SEE_GROUPS)
        with watching(server) as daemon:
            cache(daemon, "inside@hoge.cxm", "inside-pass")
            server.modify(f"dn: {branch}\nchangetype: modrdn\nnewrdn: ou=Crew\ndeleteoldrdn: 1\n")
            asked_anew(daemon, "inside@hoge.cxm", "inside-pass")


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_with_the_search_base_itself_all_below_it_are_out(authority: Authority, kind: type[DirectoryServer]) -> None:
    branch = f"ou=Staff,{people.PEOPLE}"
    person = people.person("inside").replace(people.dn("inside"), f"uid=inside,{branch}")
    with kind(authority) as server:
        server.add(f"dn: {branch}\nobjectClass: organizationalUnit\nou: Staff\n\n{person}")
        if kind is Ds389:
            server.modify(SEE_GROUPS)
        with watching(server, ldap_search_base=branch) as daemon:
            cache(daemon, "inside@hoge.cxm", "inside-pass")
            server.modify(f"dn: {branch}\nchangetype: modrdn\nnewrdn: ou=Crew\ndeleteoldrdn: 1\n")
            out(daemon, "inside@hoge.cxm", "inside-pass")


@pytest.mark.parametrize("kind", [Slapd, Ds389])
@pytest.mark.parametrize(
    "keys",
    [
        {"ldap_group_dn": GROUP},
        {"ldap_group_dn": "cn=%r," + GROUPS, "ldap_default_realm": "mail"},
        {
            "ldap_group_match_method": "filter",
            "ldap_group_filter": "(uniqueMember=%D)",
            "ldap_group_search_base": people.SUFFIX,
        },
    ],
)
def test_who_leaves_the_group_is_out(authority: Authority, kind: type[DirectoryServer], keys: dict[str, str]) -> None:
    group = f"dn: {GROUP}\nobjectClass: groupOfUniqueNames\ncn: mail\n"
    members = f"uniqueMember: {people.dn('u0')}\nuniqueMember: {people.PENGUIN_DN}\n"
    with kind(authority) as server:
        server.add(f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: Groups\n\n{group}{members}")
        if kind is Ds389:
            server.modify(SEE_GROUPS)
        with watching(server, "bind", **keys) as daemon:
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            cache(daemon, "u0@hoge.cxm", "u0-pass")
            server.modify(f"dn: {GROUP}\nchangetype: modify\ndelete: uniqueMember\nuniqueMember: {people.PENGUIN_DN}\n")
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            cache(daemon, "u0@hoge.cxm", "u0-pass")
            server.modify(f"dn: {GROUP}\nchangetype: modrdn\nnewrdn: cn=letters\ndeleteoldrdn: 1\n")
            if "ldap_group_filter" not in keys:
                out(daemon, "u0@hoge.cxm", "u0-pass")
                server.modify(f"dn: cn=letters,{GROUPS}\nchangetype: modrdn\nnewrdn: cn=mail\ndeleteoldrdn: 1\n")
                cache(daemon, "u0@hoge.cxm", "u0-pass")
                server.delete(GROUP)
            else:
                server.delete(f"cn=letters,{GROUPS}")
            out(daemon, "u0@hoge.cxm", "u0-pass")


def test_a_group_that_may_not_be_seen_lets_in_for_the_grace_alone(authority: Authority) -> None:
    group = f"dn: {GROUP}\nobjectClass: groupOfUniqueNames\ncn: mail\nuniqueMember: {people.PENGUIN_DN}\n"
    aci = (
        f'dn: {people.SUFFIX}\nchangetype: modify\nadd: aci\naci: (targetattr="uniqueMember")'
        f'(version 3.0; acl "members"; allow (compare) userdn="ldap:///{people.SERVICE_DN}";)\n'
    )
    with Ds389(authority) as server:
        server.add(f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: Groups\n\n{group}")
        server.modify(aci)
        with watching(server, ldap_group_dn=GROUP, ldap_watch_grace=f"{GRACE}") as daemon:
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            assert daemon.logged(f"ldap_watch: the service account does not see {GROUP}")
            server.add(f"dn: cn=other,{GROUPS}\nobjectClass: groupOfUniqueNames\ncn: other\n")
            server.delete(GROUP)
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD, GRACE + PROMISE)


@pytest.mark.parametrize("how", ["cut", "stall"])
def test_with_the_watch_lost_a_change_is_out_within_the_grace(server: DirectoryServer, how: Loss) -> None:
    with somebody(server, f"gap-{how}") as (login, password), Relay(server.port) as relay:
        keys = {"ldap_servers": relay.uri, "ldap_watch_grace": f"{GRACE}"}
        with watching(server, **keys) as daemon:
            cache(daemon, login, password)
            wait_until(lambda: relay.watches == 1, "the watch at the relay")
            relay.lose_watches(how)
            server.replace(people.dn(f"gap-{how}"), "userPassword", "another")
            out(daemon, login, password, GRACE + PROMISE)
            assert daemon.ask(login, "another") == b"OK"
            assert daemon.log.count("cached logins: changes of the directory are not told") <= 1

            relay.restore()
            wait_until(lambda: daemon.log.count(COVERED) == 2, "the watch again")
            asked = daemon.log.count("auth success: ")
            assert daemon.ask(login, "another") == b"OK"
            wait_until(
                lambda: daemon.log.count("auth success: ") > asked, "a question: what was cached in the gap goes"
            )
            cache(daemon, login, "another")
            server.replace(people.dn(f"gap-{how}"), "userPassword", "a third")
            out(daemon, login, "another")


def test_the_watch_follows_to_the_server_that_answers(authority: Authority) -> None:
    with Slapd(authority) as first, Slapd(authority) as second:
        keys = {"ldap_servers": f"{first.uri} {second.uri}", "ldap_watch_grace": f"{GRACE}"}
        with watching(first, **keys) as daemon:
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            first.stop()
            wait_until(lambda: daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK", "the second server")
            second.replace(people.PENGUIN_DN, "userPassword", "second")
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD, GRACE + PROMISE)
            cache(daemon, people.PENGUIN, "second")
            wait_until(lambda: daemon.log.count(COVERED) == 2, "a watch that covers all who answer")
            cache(daemon, people.PENGUIN, "second")
            second.replace(people.PENGUIN_DN, "userPassword", "third")
            out(daemon, people.PENGUIN, "second")

            # Back in its place, the first server answers as it always did.
            first.start()
            wait_until(lambda: daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK", "the first server", 90)
            wait_until(
                lambda: daemon.ask(people.PENGUIN, "third") == b"NO", "nothing left of the second", GRACE + PROMISE
            )
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            first.replace(people.PENGUIN_DN, "userPassword", "fourth")
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD, GRACE + PROMISE)


def test_without_a_watch_a_changed_password_is_out_at_the_login_after_the_check(slapd: Slapd) -> None:
    conf = article(slapd, "custom", cache_revalidate="1")
    with somebody(slapd, "checked") as (login, password), Daemon.running(conf, "-c", "-t", "3600", "-V") as daemon:
        cache(daemon, login, password)
        slapd.replace(people.dn("checked"), "userPassword", "another")
        out(daemon, login, password, 1 + PROMISE)
        assert daemon.logged(f"a cached login holds no more: [user={login}] [reason=wrong-password]")
        assert daemon.ask(login, "another") == b"OK"


def test_a_changed_file_is_out_and_in() -> None:
    for method in METHODS:
        conf = people.file_article(method, ldap_watch="yes", **(FASTBIND if method == "fastbind" else {}))
        with Daemon.running(conf, "-c", "-t", "3600", "-V", files={"people.ldif": people.tree(2)}) as daemon:
            cache(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            (daemon.folder / "new.ldif").write_text(people.person("penguin", "another"))
            (daemon.folder / "new.ldif").rename(daemon.folder / "people.ldif")
            out(daemon, people.PENGUIN, people.PENGUIN_PASSWORD)
            assert daemon.ask(people.PENGUIN, "another") == b"OK"
