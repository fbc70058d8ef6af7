"""The article's mail server: its configuration, its people, real directories, the real testsaslauthd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig import Authority, Daemon, DirectoryServer, Ds389, Saslauthd, Slapd, article, people

METHODS = ["custom", "bind", "fastbind"]
FASTBIND = {"ldap_filter": f"uid=%U,{people.PEOPLE}"}
SPELLINGS = [("penguin", "hoge.cxm"), (people.PENGUIN, ""), (people.PENGUIN, "hoge.cxm"), ("penguin", "")]


def settings(server: DirectoryServer, method: str, **keys: str) -> dict[str, str]:
    """The article's file for a method: one level, never dereferencing; fastbind's filter is a DN."""
    more = FASTBIND if method == "fastbind" else {"ldap_scope": "one", "ldap_deref": "never"}
    return article(server, method, **{**more, **keys})


@pytest.mark.parametrize("method", METHODS)
def test_one_person_logs_in_by_every_spelling(server: DirectoryServer, method: str) -> None:
    with Daemon.running(settings(server, method, ldap_default_realm="hoge.cxm"), "-c", "-t", "3600") as daemon:
        for login, realm in SPELLINGS:
            assert daemon.probe(login, people.PENGUIN_PASSWORD, realm=realm).accepted, (login, realm)
            assert not daemon.probe(login, "wrong", realm=realm).accepted, (login, realm)
        assert daemon.log.count("(cached)") == 0  # successes are not logged


@pytest.mark.parametrize("method", METHODS)
def test_who_is_nobody_or_wrong_is_told_so(server: DirectoryServer, method: str) -> None:
    long = "x" * 4000
    odd = "*()\\ pässwörd ☃"
    server.add(people.person("long", people.ssha(long)) + people.person("odd", people.ssha(odd)))
    try:
        with Daemon.running(settings(server, method)) as daemon:
            assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
            assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
            assert daemon.ask("nobody@hoge.cxm", people.PENGUIN_PASSWORD) == b"NO"
            assert daemon.ask(people.PENGUIN, "") == b"NO"
            assert daemon.ask("", people.PENGUIN_PASSWORD) == b"NO"
            assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD + "\0x") == b"NO"
            assert daemon.ask("*@hoge.cxm", people.PENGUIN_PASSWORD) == b"NO"
            assert daemon.ask("penguin)(uid=*@hoge.cxm", people.PENGUIN_PASSWORD) == b"NO"
            assert daemon.ask("penguin,ou=People", people.PENGUIN_PASSWORD) == b"NO"
            assert daemon.ask("long@hoge.cxm", long) == b"OK"
            assert daemon.ask("long@hoge.cxm", long[:-1]) == b"NO"
            assert daemon.ask("odd@hoge.cxm", odd) == b"OK"
            assert daemon.ask("odd@hoge.cxm", odd.replace("☃", "*")) == b"NO"
            for word in ("wrong-password", "empty-password", "empty-login", "nul-in-password"):
                assert daemon.logged(f"[reason={word}]")
            assert method == "fastbind" or daemon.logged("[reason=unknown-user]")
            assert people.PENGUIN_PASSWORD not in daemon.log
            assert "unavailable" not in daemon.log
    finally:
        server.delete(people.dn("long"))
        server.delete(people.dn("odd"))


ROWS = [
    # ldap_filter's mail=, default realm, flag, and which of the spellings the original accepts
    ("%U@%d", "", "", [False, True, True, False]),
    ("%U@%d", "", "-r", [True, True, False, False]),
    ("%U@%d", "hoge.cxm", "", [False, True, True, False]),
    ("%u", "", "", [False, True, True, False]),
    ("%U@%r", "", "", [True, False, True, False]),
    ("%U@%r", "hoge.cxm", "", [True, True, True, True]),
    ("%u@%r", "hoge.cxm", "", [True, False, False, True]),
    ("%u%R", "", "", [True, True, False, False]),
]
MORE = {
    # what is accepted here besides: %d and %r find the domain wherever it stands, -r appends a realm once
    ("%U@%d", "", ""): [True, True, True, False],
    ("%U@%d", "", "-r"): [True, True, True, False],
    ("%U@%d", "hoge.cxm", ""): [True, True, True, True],
    ("%U@%r", "", ""): [True, True, True, False],
}


@pytest.mark.parametrize("method", ["custom", "bind"])
@pytest.mark.parametrize(("mail", "default", "flag", "original"), ROWS)
def test_whatever_the_original_accepts_is_accepted(
    slapd: Slapd, mail: str, default: str, flag: str, original: list[bool], method: str
) -> None:
    keys = {"ldap_filter": f"(&(objectclass=mailRecipient)(mail={mail}))"}
    if default:
        keys["ldap_default_realm"] = default
    flags = [flag] if flag else []
    conf = settings(slapd, method, **keys)
    with Saslauthd.running(conf, *flags) as saslauthd, Daemon.running(conf, *flags) as daemon:
        seen = [saslauthd.probe(login, people.PENGUIN_PASSWORD, realm=realm).accepted for login, realm in SPELLINGS]
        assert seen == original
        seen = [daemon.probe(login, people.PENGUIN_PASSWORD, realm=realm).accepted for login, realm in SPELLINGS]
        assert seen == MORE.get((mail, default, flag), original)
        assert not daemon.probe(people.PENGUIN, "wrong", realm="hoge.cxm").accepted


@pytest.mark.parametrize("way", ["ldaps", "StartTLS"])
@pytest.mark.parametrize("method", METHODS)
def test_tls_holds_with_the_right_authority_only(
    server: DirectoryServer, method: str, way: str, authority: Authority, wrong_authority: Authority
) -> None:
    tls = {"ldap_servers": server.ldaps_uri} if way == "ldaps" else {"ldap_start_tls": "yes"}
    right = settings(server, method, ldap_tls_cacert_file=str(authority.certificate), **tls)
    with Daemon.running(right) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
    wrong = settings(server, method, ldap_tls_cacert_file=str(wrong_authority.certificate), **tls)
    with Daemon.running(wrong) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None
        assert daemon.logged("not trusted")
        assert daemon.logged("ldap_tls_cacert_file")
    with Daemon.running({**wrong, "ldap_tls_check_peer": "no"}) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"


def test_a_local_socket_reaches_the_same_people(server: DirectoryServer) -> None:
    with Daemon.running(settings(server, "custom", ldap_servers=server.ldapi_uri)) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_a_directory_that_is_down_is_no_wrong_password_and_comes_back(
    kind: type[DirectoryServer], method: str, authority: Authority
) -> None:
    with (
        kind(authority, users=2) as server,
        Daemon.running(settings(server, method), "-c") as daemon,
        Daemon.running(settings(server, method), "--unavailable", "no") as like_the_original,
    ):
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"OK"
        assert like_the_original.ask("u0@hoge.cxm", "u0-pass") == b"OK"
        server.stop()
        assert daemon.ask("u1@hoge.cxm", "u1-pass") is None
        assert daemon.ask("u0@hoge.cxm", "wrong") is None
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"OK"  # from the cache
        assert like_the_original.ask("u0@hoge.cxm", "u0-pass") == b"NO"
        server.start()
        assert daemon.ask("u1@hoge.cxm", "u1-pass") == b"OK"
        assert like_the_original.ask("u0@hoge.cxm", "u0-pass") == b"OK"
        server.stop()
        server.start()  # while connections were open and no login came
        assert daemon.ask("u1@hoge.cxm", "wrong") == b"NO"


@pytest.mark.parametrize("method", METHODS)
def test_an_accepted_password_is_remembered_and_a_newer_one_replaces_it(server: DirectoryServer, method: str) -> None:
    server.add(people.person("changer", people.ssha("first")))
    try:
        with Daemon.running(settings(server, method), "-c", "-t", "3600", "-V") as daemon:
            assert daemon.ask("changer@hoge.cxm", "first") == b"OK"
            assert daemon.ask("changer@hoge.cxm", "first") == b"OK"
            assert daemon.logged("(cached)")
            server.replace(people.dn("changer"), "userPassword", people.ssha("second"))
            assert daemon.ask("changer@hoge.cxm", "second") == b"OK"
            assert daemon.ask("changer@hoge.cxm", "first") == b"NO"
        with Daemon.running(settings(server, method), "-V") as daemon:
            assert daemon.ask("changer@hoge.cxm", "second") == b"OK"
            server.replace(people.dn("changer"), "userPassword", people.ssha("third"))
            assert daemon.ask("changer@hoge.cxm", "second") == b"NO"  # off without -c; and no old bind answers
            assert "(cached)" not in daemon.log
    finally:
        server.delete(people.dn("changer"))


@pytest.fixture
def group(server: DirectoryServer) -> Iterator[DirectoryServer]:
    """The server with the group ``cn=mail users,ou=People``, of which penguin is the one member."""
    dn = f"cn=mail users,{people.PEOPLE}"
    server.add(f"dn: {dn}\nobjectClass: groupOfUniqueNames\ncn: mail users\nuniqueMember: {people.PENGUIN_DN}\n\n")
    if isinstance(server, Ds389):
        server.modify(
            f"dn: {dn}\nchangetype: modify\nadd: aci\n"
            'aci: (targetattr="objectClass || uniqueMember || cn")(version 3.0; acl "groups"; '
            f'allow (read,search,compare) userdn="ldap:///{people.SERVICE_DN}";)\n'
        )
    yield server
    server.delete(dn)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("match", ["attr", "filter"])
def test_only_members_of_the_group_are_let_in(group: DirectoryServer, method: str, match: str) -> None:
    keys = (
        {"ldap_group_dn": f"cn=mail users,ou=People,{people.SUFFIX}".replace("hoge", "%2").replace("cxm", "%1")}
        if match == "attr"
        else {
            "ldap_group_match_method": "filter",
            "ldap_group_filter": "(&(cn=mail users)(uniqueMember=%D))",
            "ldap_group_search_base": people.PEOPLE,
        }
    )
    with Daemon.running(settings(group, method, **keys)) as daemon:
        assert daemon.ask("penguin", people.PENGUIN_PASSWORD, "smtp", "hoge.cxm") == b"OK"
        assert daemon.ask("penguin", "wrong", "smtp", "hoge.cxm") == b"NO"
        assert daemon.ask("u1", "u1-pass", "smtp", "hoge.cxm") == b"NO"
        assert daemon.logged("[reason=not-in-group]")


def test_the_service_account_can_come_in_by_sasl(slapd: Slapd) -> None:
    external = settings(slapd, "custom", ldap_servers=slapd.ldapi_uri, ldap_use_sasl="yes", ldap_mech="EXTERNAL")
    for key in ("ldap_bind_dn", "ldap_password"):
        del external[key]
    with Daemon.running(external) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"


def test_a_search_base_with_tokens_and_a_filter_without_parentheses(server: DirectoryServer) -> None:
    keys = {"ldap_search_base": "ou=People,dc=%2,dc=%1", "ldap_filter": "mail=%U@%d"}
    with Daemon.running(settings(server, "bind", **keys)) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask("penguin@no,such.cxm", people.PENGUIN_PASSWORD) == b"NO"


def test_several_entries_are_nobody(slapd: Slapd) -> None:
    with Daemon.running(settings(slapd, "custom", ldap_filter="(|(uid=%U)(uid=u1))")) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"NO"
        assert daemon.logged("[reason=ambiguous-user]")


def test_either_of_two_passwords_lets_in(server: DirectoryServer) -> None:
    server.add(people.person("twice", [people.ssha("one"), people.ssha("two")]))
    try:
        for method in METHODS:
            with Daemon.running(settings(server, method)) as daemon:
                assert daemon.ask("twice@hoge.cxm", "one") == b"OK"
                assert daemon.ask("twice@hoge.cxm", "two") == b"OK"
                assert daemon.ask("twice@hoge.cxm", "three") == b"NO"
    finally:
        server.delete(people.dn("twice"))
