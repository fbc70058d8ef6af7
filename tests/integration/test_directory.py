"""The directory's client against the real servers: every way in, and values that mean something to LDAP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pysaslauthd.config import LdapSettings
from pysaslauthd.config.uri import server_of
from pysaslauthd.directory.interface import Found, Query
from pysaslauthd.directory.servers import Servers
from pysaslauthd.directory.template import Template, escape_dn
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryRefused, DirectoryTimeout, ServiceBindRefused
from pysaslauthd.flow import future
from pysaslauthd.model import AuthRequest, Identity, identify
from rig import Authority, DirectoryServer, Ds389, Slapd, people
from rig.loop import run

PENGUIN_DN = people.PENGUIN_DN.encode()
PASSWORD = people.PENGUIN_PASSWORD.encode()
BY_MAIL = "(&(objectclass=mailRecipient)(mail=%u))"

ODD = [
    "comma, inside",
    "plus+sign",
    'a "quoted" name',
    "größe-鳥",
    "#leading",
    " spaces around ",
    "a=b",
    "back\\slash",
    "<angle>;semicolon",
    "*()\\",
    "uid=penguin,ou=People",
    "a\\2cb",
    "%u%d",
    "a/b?c",
]
"""User names that mean something to a DN, to a filter, to a template or to a URI."""


def query(base: str = people.PEOPLE, filter_: str = BY_MAIL, scope: str = "sub", **more: Any) -> Query:
    return Query(Template.parse(base), Template.parse(filter_), scope, ("userPassword", "uid"), **more)


def who(login: str | bytes, service: bytes = b"smtp") -> Identity:
    return identify(AuthRequest(login.encode() if isinstance(login, str) else login, b"x", service))


@asynccontextmanager
async def asking(*servers: DirectoryServer | str, seconds: float = 20.0, **keys: Any) -> AsyncIterator[Servers]:
    uris = tuple(server_of(each if isinstance(each, str) else each.uri) for each in servers)
    account = {"bind_dn": people.SERVICE_DN, "password": people.SERVICE_PASSWORD.encode()}
    waits = {"timeout": seconds, "connect_timeout": seconds}
    directory = Servers(LdapSettings(servers=uris, **{**account, **waits, **keys}), deadline=seconds * len(uris))
    try:
        yield directory
    finally:
        await directory.stop()


async def search(directory: Servers, asked: Query, identity: Identity) -> Found:
    return await future(directory.search(asked, identity))


async def finds_and_binds(directory: Servers) -> None:
    """The least that must hold, however the server was reached."""
    found = await search(directory, query(), who(people.PENGUIN))
    (entry,) = found.entries
    assert entry.dn.lower() == PENGUIN_DN.lower()
    assert len(entry.attributes["userpassword"]) == 1
    assert await search(directory, query(), who("nobody@hoge.cxm")) == Found([])
    assert (await future(directory.bind(entry.dn, PASSWORD))).code == 0
    assert (await future(directory.bind(entry.dn, b"wrong"))).code == 49
    assert len((await search(directory, query(), who(people.PENGUIN))).entries) == 1


def test_search_and_bind(server: DirectoryServer) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            await finds_and_binds(directory)
            assert (await future(directory.bind(PENGUIN_DN, PASSWORD))).server == server.uri

    run(test())


def test_ldaps_and_start_tls_with_the_right_and_the_wrong_authority(
    server: DirectoryServer, authority: Authority, wrong_authority: Authority
) -> None:
    async def test() -> None:
        for uri, start_tls in ((server.ldaps_uri, False), (server.uri, True)):
            keys: dict[str, Any] = {"start_tls": start_tls, "tls_cacert_file": str(authority.certificate)}
            async with asking(uri, **keys) as directory:
                await finds_and_binds(directory)
            keys["tls_cacert_file"] = str(wrong_authority.certificate)
            async with asking(uri, **keys) as directory:
                with pytest.raises(DirectoryDown, match=r"not trusted: .* \(ldap_tls_cacert_file names"):
                    await search(directory, query(), who(people.PENGUIN))
                with pytest.raises(DirectoryDown, match="not trusted"):
                    await future(directory.bind(PENGUIN_DN, PASSWORD))

    run(test())


def test_a_unix_socket_is_asked_like_a_port(server: DirectoryServer) -> None:
    async def test() -> None:
        async with asking(server.ldapi_uri) as directory:
            await finds_and_binds(directory)

    run(test())


@pytest.fixture(scope="module")
def sasl(authority: Authority) -> Iterator[Slapd]:
    """A slapd whose service account has the clear text that SASL PLAIN needs there."""
    with Slapd(authority, users=0) as server:
        server.replace(people.SERVICE_DN, "userPassword", people.SERVICE_PASSWORD)
        yield server


def test_the_service_account_by_sasl(sasl: Slapd) -> None:
    async def test() -> None:
        async with asking(sasl.ldapi_uri, use_sasl=True, mech="EXTERNAL") as directory:
            await finds_and_binds(directory)
        async with asking(sasl, use_sasl=True, mech="PLAIN", id="userretriever") as directory:
            await finds_and_binds(directory)
        async with asking(sasl, use_sasl=True, mech="PLAIN", id="nobody") as directory:
            with pytest.raises(ServiceBindRefused, match=r"SASL PLAIN bind: result 80 \(other\)"):
                await search(directory, query(), who(people.PENGUIN))

    run(test())


def test_a_user_by_sasl_plain_and_who_that_is(sasl: Slapd) -> None:
    async def test() -> None:
        async with asking(sasl) as directory:
            bound = await future(directory.bind_plain(b"userretriever", people.SERVICE_PASSWORD.encode()))
            assert (bound.code, bound.authzid) == (0, b"dn:" + people.SERVICE_DN.encode())
            # To a name that it does not know, slapd says 80 (other).
            for name, password, code in ((b"userretriever", b"wrong", 49), (b"nobody", b"x", 80), (b"*", b"x", 80)):
                refused = await future(directory.bind_plain(name, password))
                assert (refused.code, refused.authzid) == (code, b"")

    run(test())


def test_compare_goes_by_the_attribute_s_rule_and_what_is_not_there_is_not_held(server: DirectoryServer) -> None:
    async def test() -> None:
        keys: dict[str, Any] = {"bind_dn": server.admin_dn, "password": server.admin_password.encode()}
        async with asking(server, **keys) as directory:
            mail = people.PENGUIN.encode()
            for dn, attribute, value, same in (
                (PENGUIN_DN, "mail", mail, True),
                (PENGUIN_DN, "mail", mail.upper(), True),
                (PENGUIN_DN, "mail", b"*", False),
                (PENGUIN_DN, "uniqueMember", PENGUIN_DN, False),
                (b"uid=nobody," + people.PEOPLE.encode(), "mail", mail, False),
            ):
                assert await future(directory.compare(dn, attribute, value)) is same

    run(test())


def test_a_group_that_is_not_there_has_nobody_in_it_though_the_server_may_not_say_so(server: DirectoryServer) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            for dn in (f"cn=none,{people.SUFFIX}", f"cn=none,ou=none,{people.SUFFIX}", "cn=none,dc=elsewhere"):
                assert await future(directory.compare(dn.encode(), "uniqueMember", PENGUIN_DN)) is False

    run(test())


@pytest.fixture(scope="module")
def odd_people(slapd: Slapd, ds389: Ds389) -> None:
    """A person for each odd name, with the name as the password, in both servers."""

    def encoded(value: str | bytes) -> str:
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()

    for each in (slapd, ds389):
        for number, name in enumerate(ODD):
            # The server checks that the attribute holds what the DN says.
            dn = b"cn=" + escape_dn(name.encode()) + b"," + people.PEOPLE.encode()
            each.add(
                f"dn:: {encoded(dn)}\nobjectClass: inetOrgPerson\nobjectClass: mailRecipient\n"
                f"uid: odd{number}\ncn:: {encoded(name)}\nsn: odd\nmail: odd{number}@hoge.cxm\n"
                f"userPassword:: {encoded(people.ssha(name))}\n\n"
            )


@pytest.mark.usefixtures("odd_people")
def test_odd_names_are_found_by_filter_by_base_and_by_fastbind(server: DirectoryServer) -> None:
    in_filter = query(filter_="(&(objectclass=mailRecipient)(cn=%U))")
    in_base = query(base=f"cn=%U,{people.PEOPLE}", filter_="(objectclass=mailRecipient)", scope="base")
    fastbind = Template.parse(f"cn=%U,{people.PEOPLE}")
    # The service account of the 389 DS may not search by cn.
    searches = [in_base] if server.kind == "ds389" else [in_base, in_filter]

    async def test() -> None:
        async with asking(server) as directory:
            for number, name in enumerate(ODD):
                identity = who(name + "@hoge.cxm")
                assert identity.user == name.encode()
                for asked in searches:
                    (entry,) = (await search(directory, asked, identity)).entries
                    assert entry.attributes.get("uid", [b"odd%d" % number]) == [b"odd%d" % number]
                    assert (await future(directory.bind(entry.dn, name.encode()))).code == 0, (name, entry)
                dn = fastbind.expand(identity, escape_dn)
                assert (await future(directory.bind(dn, name.encode()))).code == 0, (name, dn)
                assert (await future(directory.bind(dn, PASSWORD))).code == 49, (name, dn)

    run(test())


@pytest.mark.parametrize(
    "value",
    [
        b"*",
        b"*()\\",
        b"penguin@hoge.cxm)(objectclass=*",
        b"\\2a",
        b"pen*",
        b"*)(|(mail=*",
        b"\xff\xfe*()\\\x80",
        bytes(range(1, 256)),
        b"x" * 4000,
        b" ",
    ],
    ids=["star", "specials", "injection", "escaped", "prefix", "or", "binary", "every", "long", "blank"],
)
def test_no_value_means_anything_to_a_filter_or_a_dn(server: DirectoryServer, value: bytes) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            identity = Identity(value, value, value, value, b"smtp", value)
            for asked in (query(), query(base=f"uid=%u,{people.PEOPLE}"), query(filter_="(|(mail=%u)(mail=%U@%d))")):
                assert (await search(directory, asked, identity)).entries == []
            dn = Template.parse(f"uid=%u,{people.PEOPLE}").expand(identity, escape_dn)
            assert (await future(directory.bind(dn, PASSWORD))).code in (32, 34, 49)
            await finds_and_binds(directory)

    run(test())


def test_passwords_of_any_octets_and_lengths(server: DirectoryServer) -> None:
    passwords = [b"*()\\", "größe 鳥".encode(), bytes(range(1, 256)), b"x" * 4000, b" "]

    async def test() -> None:
        async with asking(server) as directory:
            for number, password in enumerate(passwords):
                dn = people.dn(f"password{number}").encode()
                assert (await future(directory.bind(dn, password))).code == 0
                assert (await future(directory.bind(dn, password + b"x"))).code == 49
                assert (await future(directory.bind(dn, password[:-1] or b"x"))).code == 49

    for number, password in enumerate(passwords):
        server.add(people.person(f"password{number}", people.ssha(password)))
    run(test())


def test_many_logins_at_once_each_get_their_own_answer(server: DirectoryServer) -> None:
    async def login(directory: Servers, number: int) -> None:
        uid = f"u{number % 20}"
        found = await search(directory, query(), who(f"{uid}@hoge.cxm"))
        assert [entry.dn.lower() for entry in found.entries] == [people.dn(uid).lower().encode()]
        right = number % 3 != 0
        bound = await future(directory.bind(found.entries[0].dn, f"{uid}-pass".encode() if right else b"wrong"))
        assert bound.code == (0 if right else 49)

    async def test() -> None:
        async with asking(server, seconds=20) as directory:
            await asyncio.gather(*(login(directory, number) for number in range(500)))

    run(test())


def test_an_anonymous_session_bears_the_searches_of_a_rush(slapd: Slapd) -> None:
    async def test() -> None:
        async with asking(slapd, seconds=30, bind_dn="", password=b"") as directory:
            rush = (search(directory, query(), who(f"u{number}@hoge.cxm")) for number in range(1000))
            for each in await asyncio.gather(*rush, return_exceptions=True):
                # It may search nothing, which is an answer; a session that slapd ended would be none.
                assert isinstance(each, DirectoryRefused)
                assert each.code == 50

    run(test())


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_a_server_that_dies_or_hangs_is_passed_over_and_found_again(
    kind: type[DirectoryServer], authority: Authority, slapd: Slapd
) -> None:
    async def test() -> None:
        async with (
            asking(own, seconds=1.2, connect_timeout=1.2) as alone,
            asking(own, slapd, seconds=1.2, connect_timeout=1.2) as both,
        ):
            for directory in (alone, both):
                await finds_and_binds(directory)
            own.pause()
            with pytest.raises(DirectoryTimeout):
                await search(alone, query(), who(people.PENGUIN))
            await finds_and_binds(both)
            own.resume()
            await finds_and_binds(alone)
            await asyncio.to_thread(own.stop)
            with pytest.raises(DirectoryDown, match="Connection refused"):
                await search(alone, query(), who(people.PENGUIN))
            with pytest.raises(DirectoryError):
                await future(alone.bind(PENGUIN_DN, PASSWORD))
            await finds_and_binds(both)
            await asyncio.to_thread(own.start)
            await finds_and_binds(alone)

    with kind(authority, users=1) as own:
        run(test())
