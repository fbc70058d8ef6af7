"""The fake LDAP server, asked by ldap3's own client: it answers as a server does, and fails as it is told."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import ldap3
import pytest
from ldap3.core.exceptions import LDAPStartTLSError
from ldap3.operation.search import search_operation
from ldap3.protocol import rfc4511
from ldap3.utils.asn1 import encode

from rig import Authority, faults, people
from rig import ldap_messages as messages
from rig.fake_ldap import FakeLdap


def client(server: FakeLdap, dn: str = people.SERVICE_DN, password: str = people.SERVICE_PASSWORD) -> ldap3.Connection:
    return ldap3.Connection(
        ldap3.Server("127.0.0.1", server.port, get_info=ldap3.NONE, connect_timeout=60),
        dn,
        password,
        receive_timeout=60,
        auto_referrals=False,
    )


def find(connection: ldap3.Connection, query: str = f"(&(objectClass=mailRecipient)(mail={people.PENGUIN}))") -> bool:
    return bool(connection.search(people.PEOPLE, query, attributes=["userPassword"]))


def test_it_binds_searches_and_compares() -> None:
    with FakeLdap() as server, client(server) as connection:
        assert find(connection)
        assert connection.response[0]["dn"] == people.PENGUIN_DN
        assert connection.response[0]["raw_attributes"] == {"userPassword": [b"penguin-pass"]}
        assert not find(connection, "(|(mail=a)(!(objectClass=*)))")
        assert connection.compare(people.PENGUIN_DN, "mail", people.PENGUIN)
        assert not connection.compare(people.PENGUIN_DN, "mail", "other")
        refused = client(server, people.PENGUIN_DN, "wrong")
        assert not refused.bind()
        refused.unbind()
        asked = [(request.operation, request.connection, request.bound) for request in server.requests]
        assert asked[:2] == [("bind", 0, ""), ("search", 0, people.SERVICE_DN)]
        assert asked[5] == ("bind", 1, "")


def test_size_limit_scope_and_references_are_kept() -> None:
    with FakeLdap() as server, client(server) as connection:
        server.table.references.append("ldap://elsewhere/")
        connection.search(people.SUFFIX, "(objectClass=*)", attributes=["cn"], size_limit=1)
        assert connection.result["result"] == 4
        assert [part["type"] for part in connection.response] == ["searchResRef", "searchResEntry"]
        connection.search(people.SUFFIX, "(objectClass=*)", ldap3.LEVEL, attributes=["cn"])
        assert len(connection.entries) == 1


def test_start_tls_is_granted_with_an_authority_and_refused_without(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    # ldap3's own check of the name is deprecated code, which warns.
    tls = ldap3.Tls(validate=ssl.CERT_NONE)
    for server, granted in ((FakeLdap(authority=authority), True), (FakeLdap(), False)):
        with server:
            connection = client(server)
            connection.server.tls = tls
            connection.open()
            if granted:
                assert connection.start_tls()
                assert connection.bind()
                assert find(connection)
            else:
                with pytest.raises(LDAPStartTLSError):
                    connection.start_tls()
            connection.unbind()


def request(message_id: int, query: str = "(mail=penguin@hoge.cxm)") -> bytes:
    """A search as ldap3 encodes it."""
    message = rfc4511.LDAPMessage()
    message["messageID"] = rfc4511.MessageID(message_id)
    operation = search_operation(people.PEOPLE, query, "SUBTREE", 0, ["uid"], 0, 0, False, None, None)
    message["protocolOp"] = rfc4511.ProtocolOp().setComponentByName("searchRequest", operation)
    encoded: bytes = encode(message)
    return encoded


def answer(message_id: int) -> bytes:
    """What the search is answered with."""
    found = messages.entry(message_id, people.PENGUIN_DN, {"uid": [b"penguin"]})
    return found + messages.result("search", message_id, 0)


def test_a_request_is_recorded_as_it_came() -> None:
    assert messages.decode(request(0x1234567, "(&(mail=a)(|(cn=*)(!(cn=b))))")) == (
        0x1234567,
        "search",
        {
            "baseObject": people.PEOPLE.encode(),
            "scope": 2,
            "derefAliases": 0,
            "sizeLimit": 0,
            "timeLimit": 0,
            "typesOnly": 0,
            "filter": (
                "and",
                [
                    ("equalityMatch", (b"mail", b"a")),
                    ("or", [("present", b"cn"), ("not", ("equalityMatch", (b"cn", b"b")))]),
                ],
            ),
            "attributes": [b"uid"],
        },
        {},
    )


@pytest.mark.parametrize(
    ("fault", "received", "ends"),
    [
        pytest.param(faults.honest, answer(7), False, id="honest"),
        pytest.param(faults.close, b"", True, id="close"),
        pytest.param(faults.cut(9), answer(7)[:9], True, id="cut"),
        pytest.param(faults.drip, answer(7), False, id="drip"),
        pytest.param(faults.wrong_id, messages.result("search", 0x7FFFFFFF, 0), False, id="wrong_id"),
        pytest.param(faults.raw(messages.GARBAGE), messages.GARBAGE, False, id="garbage"),
        pytest.param(faults.raw(messages.HUGE_LENGTH), messages.HUGE_LENGTH, False, id="huge_length"),
        pytest.param(
            faults.result(10, "elsewhere", referrals=["ldap://b/"], controls={"1.2.3": b"x"}),
            messages.result("search", 7, 10, "elsewhere", ["ldap://b/"], {"1.2.3": b"x"}),
            False,
            id="result",
        ),
    ],
)
def test_a_fault_spoils_one_request_only(fault: faults.Fault, received: bytes, ends: bool) -> None:
    with FakeLdap() as server:
        server.fault("search", fault)
        with server.connect() as raw, raw.makefile("rb") as stream:
            raw.sendall(request(7))
            assert stream.read(len(received)) == received
            if ends:
                assert stream.read(1) == b""
        with server.connect() as raw:
            raw.sendall(request(7))
            assert raw.recv(4096) == answer(7)


def test_what_is_held_or_never_answered_does_not_stop_the_next_request_of_the_connection() -> None:
    with FakeLdap() as server, server.connect() as raw:
        server.fault("search", faults.hold, faults.silent)
        for message_id in (1, 2, 3):
            raw.sendall(request(message_id))
        assert raw.recv(4096) == answer(3)
        server.release()
        assert raw.recv(4096) == answer(1)
        assert [request.message_id for request in server.wait_for("search", 3)] == [1, 2, 3]


def test_it_drops_stops_listens_again_and_says_what_nobody_asked_for() -> None:
    with FakeLdap() as server:
        with server.connect() as raw:
            server.wait_connected()
            server.send(messages.disconnection())
            assert raw.recv(4096) == messages.disconnection()
            server.drop()
            assert raw.recv(1) == b""
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        server.listen()
        with client(server) as connection:
            assert find(connection)
        server.wait_for("unbind")
        server.wait_closed()


def test_a_connection_that_waits_at_the_listener_is_counted(tmp_path: Path) -> None:
    for path in (None, tmp_path / "ldapi"):
        with FakeLdap(path=path) as server:

            async def connect() -> list[socket.socket]:  # in the thread that would accept
                return [server.connect() for _ in range(3)]

            for raw in server._call(connect()):
                raw.close()
            assert server.accepted == 3
            server.stop()
            server.listen()
            server.connect().close()
            assert server.accepted == 4
