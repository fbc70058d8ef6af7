"""Following referrals of searches: where to, as whom, how far, and where not."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.config.uri import server_of
from pysaslauthd.directory.interface import Entry, Found, Query
from pysaslauthd.directory.referral import MAX_FOLLOWED, MAX_HOPS, Target, target_of
from pysaslauthd.directory.servers import Servers
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryRefused, DirectoryTimeout
from pysaslauthd.flow import future
from rig import Authority, faults, people
from rig import ldap_messages as messages
from rig.fake_ldap import FakeLdap
from rig.faults import Exchange, Fault, Request
from rig.loop import run
from rig.programs import free_port

from .asking import PENGUIN, QUERY, asking, query, search, who

OTTER_DN = f"uid=otter,ou=People,{people.SUFFIX}"
OTTER = Entry(OTTER_DN.encode(), {"userpassword": [b"otter-pass"]})
ELSEWHERE = {
    people.SUFFIX: {"dc": [b"hoge"]},
    people.SERVICE_DN: {"userPassword": [people.SERVICE_PASSWORD.encode()]},
    people.PEOPLE: {"ou": [b"People"]},
    OTTER_DN: {"mail": [b"otter@hoge.cxm"], "userPassword": [b"otter-pass"]},
}


def refer(*uris: str) -> Fault:
    """A referral in place of an answer."""
    return faults.result(10, "elsewhere", referrals=uris)


def searches(server: FakeLdap) -> list[Request]:
    return [each for each in server.requests if each.operation == "search"]


async def find(directory: Servers, asked: Query = QUERY, login: str = "otter@hoge.cxm") -> Found:
    return await future(directory.search(asked, who(login)))


def found(*servers: FakeLdap | str, login: str = "otter@hoge.cxm", asked: Query = QUERY, **keys: Any) -> Found:
    """What a search finds with referrals followed."""

    async def test() -> Found:
        async with asking(*servers, referrals=True, **keys) as directory:
            return await find(directory, asked, login)

    return run(test())


# -- the URI


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("ldap://b.hoge.cxm", Target(server_of("ldap://b.hoge.cxm"), b"", "")),
        ("ldap://b.hoge.cxm/", Target(server_of("ldap://b.hoge.cxm"), b"", "")),
        ("ldap://b.hoge.cxm:1389/dc=hoge,dc=cxm", Target(server_of("ldap://b.hoge.cxm:1389"), b"dc=hoge,dc=cxm", "")),
        ("LDAPS://B/ou=a%3Fb%2C?cn?ONE", Target(server_of("LDAPS://B"), b"ou=a?b,", "one")),
        ("ldap://[::1]:389/dc=x??base??x-a=1", Target(server_of("ldap://[::1]:389"), b"dc=x", "base")),
        ("ldap://b/ou=%E4%00??", Target(server_of("ldap://b"), b"ou=\xe4\0", "")),
    ],
)
def test_a_uri_says_where_and_what(uri: str, target: Target) -> None:
    assert target_of(uri) == target


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "neither ldap nor ldaps"),
        ("b.hoge.cxm", "neither ldap nor ldaps"),
        ("http://b/", "neither ldap nor ldaps"),
        ("ldapi://%2Frun%2Fldapi/dc=x", "neither ldap nor ldaps"),
        ("ldif:///etc/people.ldif", "neither ldap nor ldaps"),
        ("ldap:///dc=hoge", "names no host"),
        ("ldap://:389/dc=hoge", "names no host"),
        ("ldap://b/dc=x??sub?(uid=root)", "a filter of its own"),
        ("ldap://b/dc=x??sub??!1.2.3=x", "a critical extension"),
        ("ldap://b/dc=x??children", "an unknown scope"),
        ("ldap://user:pass@b/", "is not host"),
        ("ldap://b:0/", "is not a port"),
        ("ldap://b?cn", "is not a URI"),
    ],
)
def test_what_is_not_followed_has_a_reason(uri: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        target_of(uri)


@given(st.text() | st.text(":/?%[]@!ldapsb01", max_size=30).map("ldap://b".__add__))
def test_any_uri_is_read_or_refused(uri: str) -> None:
    try:
        target = target_of(uri)
    except ValueError:
        return
    assert target.server.scheme in ("ldap", "ldaps")
    assert target.server.host
    assert target.scope in ("", "base", "one", "sub")


# -- following


def test_a_referral_and_a_reference_are_followed_and_the_entries_are_one_answer() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(f"{other.uri}/{people.PEOPLE}"))
        assert found(server) == Found([OTTER])
        server.table.references.append(f"{other.uri}/{people.PEOPLE}")
        assert found(server) == Found([OTTER])
        assert found(server, login=people.PENGUIN) == Found([PENGUIN])
        other.table.entries[OTTER_DN]["mail"] = [people.PENGUIN.encode()]
        assert found(server, login=people.PENGUIN) == Found([PENGUIN, OTTER])
        assert found(server, login="nobody@hoge.cxm") == Found([])
        assert other.accepted == 5
        other.wait_for("unbind", 5)


def test_a_server_that_the_configuration_does_not_name_is_asked_as_nobody() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(other.uri))
        assert found(server) == Found([OTTER])
        assert [each.operation for each in other.wait_for("unbind")] == ["unbind"]
        assert [(each.operation, each.bound) for each in other.requests] == [("search", ""), ("unbind", "")]


def test_by_sasl_too_it_is_asked_as_nobody() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(other.uri))
        assert found(server, use_sasl=True, mech="PLAIN", id=people.SERVICE_DN) == Found([OTTER])
        other.wait_for("unbind")
        assert [each.operation for each in other.requests] == ["search", "unbind"]


def test_a_server_of_the_configuration_is_asked_as_the_service_account() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(f"{other.uri}/{people.PEOPLE}"))
        assert found(server, other) == Found([OTTER])
        assert [each.bound for each in searches(other)] == [people.SERVICE_DN]


def test_the_same_port_with_another_scheme_is_another_server() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(other.uri))
        assert found(server, other.uri.replace("ldap:", "ldaps:")) == Found([OTTER])
        assert [each.bound for each in searches(other)] == [""]


@pytest.mark.parametrize(
    ("rest", "base", "scope"),
    [
        ("", people.PEOPLE, 1),
        ("/", people.PEOPLE, 1),
        ("/ou=Other%2C%20here", "ou=Other, here", 1),
        ("/dc=x??base", "dc=x", 0),
        ("/??sub", people.PEOPLE, 2),
        ("/dc=x?mail?sub", "dc=x", 2),
    ],
)
def test_base_and_scope_are_the_uris_where_it_has_them(rest: str, base: str, scope: int) -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(other.uri + rest))
        other.fault("search", faults.result(0))
        assert found(server, asked=query(scope="one", size_limit=7, time_limit=3)) == Found([])
        (request,) = searches(other)
        body = request.body
        assert (body["baseObject"], body["scope"], body["sizeLimit"], body["timeLimit"]) == (base.encode(), scope, 7, 3)
        assert (body["filter"], body["attributes"]) == (
            ("equalityMatch", (b"mail", b"otter@hoge.cxm")),
            [b"userPassword"],
        )


def test_a_base_made_of_tokens_stays_escaped() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.fault("search", refer(other.uri))
        assert found(server, asked=query("ou=%d,dc=hoge,dc=cxm"), login="a@b,dc=c") == Found([])
        (request,) = searches(other)
        assert request.body["baseObject"] == rb"ou=b\2cdc\3dc,dc=hoge,dc=cxm"


def test_one_of_several_alternatives_is_enough_and_the_first_that_answers() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as busy, FakeLdap(ELSEWHERE) as other, FakeLdap() as unasked:
        uris = ["http://x/", f"ldap://127.0.0.1:{free_port()}", busy.uri, other.uri, unasked.uri]
        busy.fault("search", faults.result(51))
        server.fault("search", refer(*uris))
        assert found(server) == Found([OTTER])

        async def reference(exchange: Exchange) -> None:
            assert exchange.request is not None
            number = exchange.request.message_id
            await exchange.send(messages.reference(number, *uris) + messages.result("search", number, 0))

        busy.fault("search", faults.result(52))
        server.fault("search", reference)
        assert found(server) == Found([OTTER])
        assert (len(searches(busy)), len(searches(other)), unasked.accepted) == (2, 2, 0)


def test_what_is_not_followed_is_counted() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.table.references += [f"{other.uri}/dc=x??sub?(uid=root)", "ldapi:///", other.uri]
        assert found(server) == Found([OTTER], references=2)
        assert found(server, login=people.PENGUIN) == Found([PENGUIN], references=2)


def test_a_referral_that_is_not_followed_is_no_answer() -> None:
    with FakeLdap() as server:
        server.fault("search", refer("http://x/", "ldap:///dc=y"))
        reason = r"search: result 10 \(referral\): not followed: http://x/ neither .*; ldap:///dc=y names no host$"
        with pytest.raises(DirectoryRefused, match=reason):
            found(server)


def test_where_a_followed_server_gives_no_answer_nothing_is_known() -> None:
    with FakeLdap() as server, FakeLdap() as other:
        server.table.references.append(f"ldap://127.0.0.1:{free_port()}")
        with pytest.raises(DirectoryDown, match="Connection refused"):
            found(server)
        server.table.references[:] = [other.uri]
        other.fault("search", faults.result(50, "no"))
        with pytest.raises(DirectoryRefused, match=r"search: result 50 \(insufficientAccessRights\): no$"):
            found(server)
        other.fault("search", faults.close)
        with pytest.raises(DirectoryError):
            found(server)


def test_a_size_limit_exceeded_elsewhere_is_told() -> None:
    with FakeLdap() as server, FakeLdap(ELSEWHERE) as other:
        server.table.references.append(other.uri)
        other.fault("search", faults.result(4))
        assert found(server, login=people.PENGUIN) == Found([PENGUIN], size_limit_exceeded=True)


# -- how far


def test_hops_are_bounded() -> None:
    with FakeLdap() as server:
        server.fault("search", *[refer(server.uri)] * 20)
        with pytest.raises(DirectoryRefused, match=f"more than {MAX_HOPS} servers in a row"):
            found(server)
        assert len(searches(server)) == 1 + MAX_HOPS


def test_a_circle_of_references_is_bounded() -> None:
    with FakeLdap() as server:
        server.table.references += [server.uri] * 5
        result = found(server)
        assert len(searches(server)) == 1 + MAX_FOLLOWED
        assert result.entries == []
        assert result.references > 0


def test_a_referral_is_followed_over_several_servers() -> None:
    with FakeLdap() as one, FakeLdap() as two, FakeLdap() as three, FakeLdap(ELSEWHERE) as last:
        one.fault("search", refer(two.uri))
        two.table.references.append(three.uri)
        three.fault("search", refer(last.uri))
        assert found(one) == Found([OTTER])


def test_following_has_the_time_out_of_one_answer() -> None:
    with FakeLdap() as server, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        hung = f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        server.fault("search", refer(hung, hung, hung))
        with pytest.raises(DirectoryTimeout, match="its referrals were not followed within 1 s"):
            found(server, seconds=1.0)
        # The time of one was the time of all.
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_stop_ends_what_is_being_followed() -> None:
    async def test() -> None:
        async with asking(server, referrals=True) as directory:
            login = asyncio.create_task(search(directory))
            await asyncio.to_thread(other.wait_for, "search")
        with pytest.raises(DirectoryDown, match="stopping"):
            await login

    with FakeLdap() as server, FakeLdap() as other:
        server.fault("search", refer(other.uri))
        other.fault("search", faults.silent)
        run(test())
        other.wait_closed()


# -- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_tls_is_never_left(authority: Authority, tmp_path: Path) -> None:
    trust: dict[str, Any] = {"tls_cacert_file": str(authority.certificate)}
    with (
        FakeLdap(authority=authority, ldaps=True) as secure,
        FakeLdap(path=tmp_path / "ldapi") as local,
        FakeLdap(ELSEWHERE, authority=authority) as clear,
    ):
        for server in (secure, local):
            server.fault("search", refer(clear.uri))
            with pytest.raises(DirectoryRefused, match="would leave the protection of TLS"):
                found(server, **trust)
        assert clear.accepted == 0
        # With StartTLS the same server is no way out of it.
        secure.fault("search", refer(clear.uri))
        assert found(secure, start_tls=True, **trust) == Found([OTTER])
        assert [each.operation for each in clear.requests][:2] == ["extended", "search"]


def test_from_the_clear_to_ldaps_the_certificate_is_checked(authority: Authority, tmp_path: Path) -> None:
    wrong = Authority(tmp_path, "Wrong CA")
    with FakeLdap() as server, FakeLdap(ELSEWHERE, authority=authority, ldaps=True) as secure:
        server.fault("search", refer(secure.uri), refer(secure.uri))
        assert found(server, tls_cacert_file=str(authority.certificate)) == Found([OTTER])
        with pytest.raises(DirectoryDown, match="its certificate is not trusted"):
            found(server, tls_cacert_file=str(wrong.certificate))
        assert len(searches(secure)) == 1
