"""Making a connection: every way in, every way to fail, and what the failure says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.config.uri import server_of
from pysaslauthd.directory import connection as connections
from pysaslauthd.directory.connect import KEEPALIVE_SECONDS, Connector, wait
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.errors import ConnectionLost, DirectoryDown, ServiceBindRefused
from pysaslauthd.flow import future
from pysaslauthd.wire.ldap import request
from rig import Authority, faults, people
from rig import ldap_messages as messages
from rig.fake_ldap import FakeLdap
from rig.faults import Exchange
from rig.loop import run
from rig.programs import free_port

from .asking import PATIENT, TIMEOUT, connected, settings, uri


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("wrong"), "Wrong CA")


@pytest.fixture
def server() -> Iterator[FakeLdap]:
    with FakeLdap() as fake:
        yield fake


def trust(authority: Authority, **keys: Any) -> dict[str, Any]:
    return {"tls_cacert_file": str(authority.certificate), **keys}


def binds(server: FakeLdap) -> list[dict[str, Any]]:
    return [request.body for request in server.requests if request.operation == "bind"]


def connect(server: FakeLdap, *, as_service: bool = True, **keys: Any) -> None:
    """Connect and close again."""

    async def test() -> None:
        async with connected(server, as_service=as_service, **keys) as connection:
            assert not connection.lost

    run(test())


def refusal(server: FakeLdap | str, *, as_service: bool = True, waits: bool = True, **keys: Any) -> str:
    """Why there is no connection; the connection is closed then."""
    address = server_of(server) if isinstance(server, str) else uri(server)

    async def test() -> str:
        connector = Connector.of(settings(address.text, **keys), PATIENT)
        lost: list[LdapConnection] = []
        with pytest.raises(DirectoryDown) as refused:
            await connector.connect(address, lost.append, Pulse(), as_service=as_service)
        return str(refused.value)

    text = run(test())
    assert text.startswith(address.text + ": ")
    assert text.count(address.text) == 1
    if waits and not isinstance(server, str):
        server.wait_closed()
    return text.removeprefix(address.text + ": ")


# -- ways in


def test_the_service_account_binds(server: FakeLdap) -> None:
    connect(server)
    assert binds(server) == [{"version": 3, "name": people.SERVICE_DN.encode(), "simple": b"password"}]
    server.wait_for("unbind")


def test_a_connection_for_user_binds_is_not_bound(server: FakeLdap) -> None:
    connect(server, as_service=False)
    assert binds(server) == []


def test_without_a_service_account_nothing_is_sent_but_version_2_needs_a_bind(server: FakeLdap) -> None:
    connect(server, bind_dn="", password=b"")
    assert binds(server) == []
    connect(server, bind_dn="", password=b"", version=2)
    connect(server, version=2)
    assert [(body["version"], body["name"]) for body in binds(server)] == [(2, b""), (2, people.SERVICE_DN.encode())]


@pytest.mark.parametrize(
    ("keys", "credentials"),
    [
        ({"mech": "EXTERNAL"}, b""),
        ({"mech": "EXTERNAL", "authz_id": "dn:cn=x"}, b"dn:cn=x"),
        ({"mech": "PLAIN", "id": people.SERVICE_DN}, b"\0" + people.SERVICE_DN.encode() + b"\0password"),
        (
            {"mech": "PLAIN", "id": people.SERVICE_DN, "authz_id": "u:other"},
            b"u:other\0" + people.SERVICE_DN.encode() + b"\0password",
        ),
    ],
)
def test_the_service_account_binds_by_sasl(server: FakeLdap, keys: dict[str, Any], credentials: bytes) -> None:
    connect(server, use_sasl=True, **keys)
    body = {"version": 3, "name": b"", "mechanism": keys["mech"].encode(), "credentials": credentials}
    assert binds(server) == [body]


def test_a_unix_socket_is_connected_to_and_missed_where_it_is_not_there(tmp_path: Path) -> None:
    with FakeLdap(path=tmp_path / "ldapi") as server:
        connect(server)
        assert len(binds(server)) == 1
    assert refusal(server.uri) in ("Connection refused", "No such file or directory")
    assert refusal("ldapi://%2Fnowhere%2Fldapi") == "No such file or directory"


def test_start_tls_begins_before_the_bind(authority: Authority) -> None:
    with FakeLdap(authority=authority) as server:
        connect(server, **trust(authority, start_tls=True))
        assert [request.operation for request in server.wait_for("unbind")][-1:] == ["unbind"]
        assert [request.operation for request in server.requests] == ["extended", "bind", "unbind"]


def test_ldaps_begins_with_tls_and_needs_no_start_tls(authority: Authority) -> None:
    with FakeLdap(authority=authority, ldaps=True) as server:
        connect(server, **trust(authority))
        connect(server, **trust(authority, start_tls=True))  # which is for ldap alone
        server.wait_for("unbind", 2)
        assert [request.operation for request in server.requests] == ["bind", "unbind"] * 2


def test_a_host_name_finds_the_address_that_answers(server: FakeLdap) -> None:
    async def test() -> None:
        address = server_of(f"ldap://localhost:{server.port}")  # ::1 comes first, and nobody listens there
        connector = Connector.of(settings(address.text), PATIENT)
        connection = await connector.connect(address, lambda _: None, Pulse(), as_service=True)
        connection.close()

    run(test())


def test_idle_connections_are_probed_by_the_kernel(server: FakeLdap) -> None:
    async def test() -> None:
        async with connected(server) as connection:
            found = connection._transport.get_extra_info("socket")
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_SECONDS

    run(test())


# -- ways to fail


def test_a_wrong_authority_is_refused_and_the_text_says_what_to_do(authority: Authority, wrong: Authority) -> None:
    for ldaps in (True, False):
        with FakeLdap(authority=authority, ldaps=ldaps) as server:
            text = refusal(server, **trust(wrong, start_tls=not ldaps))
            assert text == (
                "its certificate is not trusted: unable to get local issuer certificate "
                "(ldap_tls_cacert_file names the certificate of the authority to trust)"
            )
            assert binds(server) == []
            connect(server, **trust(wrong, start_tls=not ldaps, tls_check_peer=False))


class OtherName(Authority):
    def issue(self, name: str = "localhost", *, san: str = "") -> Any:
        return super().issue(name, san=san or "IP:127.0.0.2,DNS:ldap.hoge.cxm")


def test_a_wrong_name_is_refused_and_the_text_says_what_to_do(tmp_path: Path) -> None:
    other = OtherName(tmp_path)
    for ldaps in (True, False):
        with FakeLdap(authority=other, ldaps=ldaps) as server:
            text = refusal(server, **trust(other, start_tls=not ldaps))
            assert "127.0.0.1" in text
            assert text.endswith("(ldap_servers must name the server as its certificate does)")
            address = server.uri.replace("127.0.0.1", "localhost")
            assert "localhost" in refusal(address, **trust(other, start_tls=not ldaps)).casefold()
            assert binds(server) == []


def test_start_tls_refused(server: FakeLdap) -> None:
    assert refusal(server, start_tls=True) == "StartTLS: result 2 (protocolError): unsupported extended operation"
    server.fault("extended", faults.result(10, "elsewhere", referrals=["ldap://b/"]))
    assert refusal(server, start_tls=True) == "StartTLS: result 10 (referral): elsewhere referral to ldap://b/"
    assert binds(server) == []


@pytest.mark.parametrize(
    "junk",
    [b"\x30", messages.result("bind", 0x01000001, 0), messages.result("bind", 0x7FFFFFFF, 0), b"\x30\x05\x02\x01"],
)
def test_octets_in_the_clear_after_the_start_tls_response_are_refused(authority: Authority, junk: bytes) -> None:
    with FakeLdap(authority=authority) as server:
        server.fault("extended", faults.followed_by(junk))
        text = refusal(server, **trust(authority, start_tls=True))
        assert text == "octets in the clear after the StartTLS response"
        assert binds(server) == []


async def agree(exchange: Exchange) -> None:
    """Agree to StartTLS, and leave it at that."""
    assert exchange.request is not None
    await exchange.send(messages.result("extended", exchange.request.message_id, 0))
    await exchange.released.wait()


def test_a_server_that_agrees_to_tls_and_does_not_begin(authority: Authority, server: FakeLdap) -> None:
    server.fault("extended", agree)
    assert refusal(server, waits=False, **trust(authority, start_tls=True, connect_timeout=TIMEOUT)) == (
        "not connected within 0.3 s"
    )


def test_a_connection_that_the_server_ends_as_it_agrees_to_tls(authority: Authority) -> None:
    with FakeLdap(authority=authority) as server:
        server.fault("extended", faults.followed_by(messages.disconnection(52, "going")))
        text = refusal(server, **trust(authority, start_tls=True))
        assert text == "the connection ended before TLS began"
        assert binds(server) == []


def test_a_connection_that_is_closed_while_tls_begins(authority: Authority, server: FakeLdap) -> None:
    async def test() -> None:
        async with connected(server) as connection:
            await future(wait(connection.ask_once(lambda number: request.extended(number, request.START_TLS))))
            tls = Connector.of(settings(server, **trust(authority, start_tls=True)), PATIENT).tls
            beginning = asyncio.create_task(connection.start_tls(tls))
            await asyncio.sleep(0)  # it has begun
            connection.close()
            with pytest.raises(ConnectionLost, match="the connection ended while TLS began"):
                await beginning

    server.fault("extended", agree)
    run(test())


def test_a_server_without_tls_asked_by_ldaps(server: FakeLdap, authority: Authority) -> None:
    server.fault("connect", faults.raw(messages.GARBAGE))
    assert "SSL" in refusal(server.uri.replace("ldap:", "ldaps:"), **trust(authority))


def test_a_silent_server_is_given_up_within_the_connect_time_out(server: FakeLdap, authority: Authority) -> None:
    server.fault("bind", faults.silent)
    assert refusal(server, connect_timeout=TIMEOUT) == "not connected within 0.3 s"
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        port = listener.getsockname()[1]
        text = refusal(f"ldaps://127.0.0.1:{port}", **trust(authority, connect_timeout=TIMEOUT))
        assert text == "not connected within 0.3 s"
        text = refusal(f"ldap://127.0.0.1:{port}", start_tls=True, connect_timeout=TIMEOUT)
        assert text == "not connected within 0.3 s"


def test_a_refused_connection_and_hosts_that_are_not_there() -> None:
    assert refusal(f"ldap://127.0.0.1:{free_port()}") == "Connection refused"
    text = refusal(f"ldap://localhost:{free_port()}")
    assert text == "Connection refused" or "'127.0.0.1'" in text  # where there are more addresses, each is named
    assert refusal("ldap://nowhere.invalid") in (
        "Name or service not known",
        "Temporary failure in name resolution",
        "[Errno -2] Name or service not known",
        "[Errno -3] Temporary failure in name resolution",
    )
    assert "label" in refusal("ldap://a..b")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (faults.close, "the server closed the connection"),
        (faults.raw(messages.GARBAGE), "the server's answer is not LDAP"),
        (faults.raw(messages.disconnection(52, "going")), "the server ends the connection: going"),
        (faults.result(51, "later"), "bind as cn=userretriever,dc=hoge,dc=cxm: result 51 (busy): later"),
        (faults.result(52), "bind as cn=userretriever,dc=hoge,dc=cxm: result 52 (unavailable)"),
    ],
)
def test_a_service_bind_that_is_not_answered(server: FakeLdap, fault: faults.Fault, text: str) -> None:
    server.fault("bind", fault)
    assert refusal(server) == text


def test_a_server_that_closes_at_once_gives_no_connection(server: FakeLdap, monkeypatch: pytest.MonkeyPatch) -> None:
    # The end must be seen before the connection is handed out.
    made = connections.LdapConnection.connection_made

    def lost_at_once(self: LdapConnection, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        self.connection_lost(None)

    monkeypatch.setattr(connections.LdapConnection, "connection_made", lost_at_once)
    assert refusal(server, as_service=False) == "the server closed the connection"


@pytest.mark.parametrize(
    ("keys", "who"),
    [
        ({"password": b"wrong"}, f"bind as {people.SERVICE_DN}"),
        ({"use_sasl": True, "mech": "PLAIN", "id": "cn=nobody"}, "SASL PLAIN bind"),
    ],
)
def test_a_refused_service_bind_says_who_and_where(server: FakeLdap, keys: dict[str, Any], who: str) -> None:
    async def test() -> None:
        with pytest.raises(ServiceBindRefused) as refused:
            async with connected(server, as_service=True, **keys):
                pass
        assert (refused.value.code, str(refused.value)) == (49, f"{server.uri}: {who}: result 49 (invalidCredentials)")

    run(test())
    server.wait_closed()


def test_an_attempt_that_is_cancelled_leaves_nothing(server: FakeLdap, authority: Authority) -> None:
    async def test(fake: FakeLdap, operation: str, count: int = 1, **keys: Any) -> None:
        async def attempt() -> None:
            async with connected(fake, as_service=True, **keys):
                pass

        task = asyncio.create_task(attempt())
        await asyncio.to_thread(fake.wait_for, operation, count)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(fake.wait_closed)

    server.fault("bind", faults.silent)
    run(test(server, "bind"))
    with FakeLdap(authority=authority) as tls:
        tls.fault("bind", faults.silent)
        run(test(tls, "bind", **trust(authority, start_tls=True)))
        tls.fault("extended", faults.silent)
        run(test(tls, "extended", 2, **trust(authority, start_tls=True)))


def test_what_is_said_to_servers_that_are_not_ours_holds_no_credentials(authority: Authority) -> None:
    own = authority.issue("client")
    keys = trust(authority, start_tls=True, tls_cert=str(own.certificate), tls_key=str(own.key), use_sasl=True)
    connector = Connector.of(settings("ldap://a/", **keys), PATIENT).anonymous()
    assert (connector.settings.bind_dn, connector.settings.password) == ("", b"")
    assert not connector.settings.use_sasl
    assert (connector.settings.tls_cert, connector.settings.tls_key) == ("", "")
    assert connector.settings.start_tls


def test_a_handshake_that_is_given_up_leaves_no_connection(authority: Authority) -> None:
    def wait_for_the_end(accepted: socket.socket) -> None:
        accepted.settimeout(PATIENT)
        with contextlib.suppress(ConnectionResetError):
            while accepted.recv(65536):
                pass

    async def test() -> None:
        keys = settings(f"ldaps://127.0.0.1:{hung.getsockname()[1]}", connect_timeout=0.2, **trust(authority))
        connector = Connector.of(keys, PATIENT)
        with pytest.raises(DirectoryDown, match=r"not connected within 0\.2 s"):
            await connector.connect(keys.servers[0], lambda _: None, Pulse(), as_service=True)
        accepted, _ = hung.accept()
        with accepted:
            await asyncio.to_thread(wait_for_the_end, accepted)

    with socket.create_server(("127.0.0.1", 0)) as hung:
        run(test())
