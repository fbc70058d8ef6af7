"""One connection: many requests in flight, each with its own answer, time-out and fault."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.directory import connection as module
from pysaslauthd.directory.answer import Answer
from pysaslauthd.directory.connect import Connector, wait
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.directory.deliver import deliver_failure
from pysaslauthd.errors import ConnectionLost, DirectoryTimeout
from pysaslauthd.flow import Reply, future
from pysaslauthd.flow import run as drive
from pysaslauthd.wire.ldap import request
from pysaslauthd.wire.ldap.request import RequestTemplate
from rig import Authority, faults, people
from rig import ldap_messages as messages
from rig.clock import Clock
from rig.fake_ldap import FakeLdap
from rig.faults import Exchange
from rig.ldap_table import PEOPLE
from rig.loop import run
from rig.needs import needs_reference_counts

from .asking import PASSWORD, PATIENT, PENGUIN, PENGUIN_DN, TIMEOUT, connected, settings, uri

FIND: RequestTemplate = request.search_template(
    [people.PEOPLE], ["(mail=", ")"], scope="sub", attributes=["userPassword"]
)
MANY = {
    **PEOPLE,
    **{f"uid=u{n},{people.PEOPLE}": {"mail": [b"u%d" % n], "userPassword": [b"p%d" % n]} for n in range(20)},
}


def find(connection: LdapConnection, login: bytes = people.PENGUIN.encode()) -> asyncio.Future[Answer]:
    return future(wait(connection.ask(FIND, [login])))


def bind(connection: LdapConnection, password: bytes = PASSWORD) -> asyncio.Future[Answer]:
    return future(wait(connection.ask(request.simple_bind_template(), [PENGUIN_DN, password])))


async def come(server: FakeLdap, operation: str, count: int = 1) -> list[faults.Request]:
    """Wait for requests without stopping the event loop."""
    return await asyncio.to_thread(server.wait_for, operation, count)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_answers_find_their_requests_in_any_order(order: Sequence[int]) -> None:
    async def test() -> None:
        async with connected(server) as connection:
            asked = [find(connection, b"u%d" % number) for number in range(5)]
            assert connection.pending == 5
            for number, answer in enumerate(await asyncio.gather(*asked)):
                assert [values["userpassword"] for _, values, _ in answer.entries] == [[b"p%d" % number]]
            assert connection.pending == 0

    with FakeLdap(MANY) as server:
        server.fault("search", *faults.in_order(*order))
        run(test())


def test_requests_of_one_turn_keep_their_order_and_their_octets() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            await asyncio.gather(*(find(connection, b"u%d" % number) for number in range(20)))

    with FakeLdap(MANY) as server:
        run(test())
        asked = server.wait_for("search", 20)
    assert [each.body["filter"] for each in asked] == [("equalityMatch", (b"mail", b"u%d" % n)) for n in range(20)]
    assert [each.message_id for each in asked] == list(range(request.FIRST_ID, request.FIRST_ID + 20))


def test_an_answer_in_pieces_is_whole_and_those_after_it_too() -> None:
    async def test() -> None:
        Clock()  # however long the pieces take
        async with connected(server) as connection:
            for _ in range(2):
                assert (await find(connection)).entries == [PENGUIN]

    with FakeLdap() as server:
        server.fault("search", faults.drip)
        run(test())


def test_a_long_answer_in_pieces_is_whole() -> None:
    photo = bytes(range(256)) * 900

    async def test() -> None:
        Clock()
        async with connected(server) as connection:
            assert (await find(connection)).entries == [(PENGUIN_DN, {"userpassword": [photo]}, {})]

    entries = {**PEOPLE, people.PENGUIN_DN: {"mail": [people.PENGUIN.encode()], "userPassword": [photo]}}
    with FakeLdap(entries) as server:
        run(test())


def test_a_long_message_in_small_pieces_is_copied_once() -> None:
    class Counting(bytearray):
        copies = 0

        def __bytes__(self) -> bytes:
            Counting.copies += 1
            return bytes(memoryview(self))

    async def test() -> None:
        async with connected(server) as connection:
            answer = find(connection)
            (asked,) = await come(server, "search")
            octets = messages.entry(asked.message_id, people.PENGUIN_DN, {"userPassword": [bytes(50_000)]})
            connection._partial = Counting()
            for at in range(0, len(octets), 10):
                connection.receive(octets[at : at + 10])
            connection.receive(messages.result("search", asked.message_id, 0))
            assert len((await answer).entries) == 1

    with FakeLdap() as server:
        server.fault("search", faults.silent)
        run(test())
    assert Counting.copies < 3


def test_a_time_out_abandons_one_request_and_leaves_the_others_alone() -> None:
    async def test() -> None:
        clock = Clock()
        async with connected(server, TIMEOUT) as connection:
            slow = find(connection)
            await come(server, "search")
            clock.move(TIMEOUT / 2)
            assert (await find(connection)).entries == [PENGUIN]
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout, match=r"ldap://127.0.0.1:\d+: no answer within 0.3 s") as late:
                await slow
            assert not late.value.silent
            (abandoned,) = await come(server, "abandon")
            assert abandoned.body == {"messageID": server.wait_for("search")[0].message_id}
            server.release()
            # The late answer comes first, and is dropped.
            assert (await find(connection)).entries == [PENGUIN]
            assert not connection.lost

    with FakeLdap() as server:
        server.fault("search", faults.hold)
        run(test())


def test_a_connection_on_which_nothing_is_heard_within_the_time_out_is_given_up() -> None:
    async def test() -> None:
        clock = Clock()
        async with connected(server, TIMEOUT) as connection:
            slow = find(connection)
            clock.move(TIMEOUT * 0.5)
            later = find(connection)
            clock.move(TIMEOUT * 0.6)
            with pytest.raises(DirectoryTimeout) as late:
                await slow
            assert late.value.silent
            assert connection.lost
            with pytest.raises(ConnectionLost, match="no answer within"):
                await later

    with FakeLdap() as server:
        server.fault("search", faults.silent, faults.silent)
        run(test())
        server.wait_closed()


def test_a_flow_that_fails_late_may_close_the_connection_on_the_others_that_are_late() -> None:
    async def test() -> None:
        clock = Clock()
        async with connected(server, TIMEOUT) as connection:
            drive(wait(connection.ask(FIND, [b"u0"])), lambda *_: connection.close())
            other = find(connection)
            clock.move(TIMEOUT * 2)
            with pytest.raises(ConnectionLost, match="closed"):
                await other

    with FakeLdap() as server:
        server.fault("search", faults.silent, faults.silent)
        run(test())


async def drip_without_end(exchange: Exchange) -> None:
    await exchange.send(b"\x30\x82\x40\x00")
    while not exchange.writer.is_closing():
        await exchange.send(b"\0")
        await asyncio.sleep(TIMEOUT / 20)


def test_a_connection_that_drips_without_end_counts_as_silent() -> None:
    async def test() -> None:
        async with connected(server, TIMEOUT) as connection:
            with pytest.raises(DirectoryTimeout) as late:
                await find(connection)
            assert late.value.silent
            assert connection.lost

    with FakeLdap() as server:
        server.fault("search", drip_without_end)
        run(test())


def test_an_answer_that_is_not_whole_in_time_is_a_time_out_of_all_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_SECONDS", TIMEOUT)

    async def test() -> None:
        async with connected(server, 30) as connection:
            asked = [find(connection), find(connection)]
            for answer in asked:
                with pytest.raises(DirectoryTimeout, match=r"an answer was not whole after 0\.3 s") as late:
                    await answer
                assert late.value.silent
            assert connection.lost

    with FakeLdap() as server:
        server.fault("search", drip_without_end, faults.silent)
        run(test())
        server.wait_closed()


async def two_connections(server: FakeLdap, seconds: float) -> list[LdapConnection]:
    """Two to one server, which tell each other when it is heard."""
    pulse, connector = Pulse(), Connector.of(settings(server), seconds)
    return [await connector.connect(uri(server), lambda _: None, pulse, as_service=False) for _ in range(2)]


def test_a_server_that_drips_is_not_silent_where_another_connection_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE_SECONDS", TIMEOUT)

    async def test() -> None:
        clock = Clock()
        one, other = await two_connections(server, 30)
        one.receive(b"\x30\x82\x40\x00")
        answer = find(one)
        clock.move(TIMEOUT / 2)
        await find(other)
        clock.move(TIMEOUT)
        with pytest.raises(DirectoryTimeout) as late:
            await answer
        assert not late.value.silent
        assert (one.lost, other.lost) == (True, False)
        other.close()

    with FakeLdap() as server:
        server.fault("search", faults.silent)
        run(test())


def test_an_answer_in_pieces_that_gets_whole_in_time_leaves_the_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE_SECONDS", TIMEOUT / 3)

    async def test() -> None:
        clock = Clock()
        async with connected(server) as connection:
            octets = messages.result("search", 0x7FFFFFFF, 0)
            for octet in octets + octets[:-1]:
                connection.receive(bytes([octet]))
            connection.receive(octets[-1:])
            clock.move(TIMEOUT)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not connection.lost

    with FakeLdap() as server:
        run(test())


def test_a_server_heard_on_another_connection_is_not_silent_but_the_connection_is_given_up() -> None:
    async def test() -> None:
        clock = Clock()
        one, other = await two_connections(server, TIMEOUT)
        slow = find(one)
        await come(server, "search")
        clock.move(TIMEOUT / 2)
        await find(other)
        clock.move(TIMEOUT)
        with pytest.raises(DirectoryTimeout) as late:
            await slow
        assert not late.value.silent
        assert (one.lost, other.lost) == (True, False)
        other.close()

    with FakeLdap() as server:
        server.fault("search", faults.silent)
        run(test())


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (faults.close, "the server closed the connection"),
        (faults.cut(9), "the server closed the connection"),
        (faults.raw(messages.GARBAGE), "not LDAP"),
        (faults.raw(messages.HUGE_LENGTH), "2147483647 octets"),
        (faults.raw(messages.disconnection(52, "going")), "the server ends the connection: going"),
        (faults.raw(b"\x30\x03\x02\x01\x05"), "does not decode"),
    ],
)
def test_what_breaks_the_connection_ends_all_requests_in_flight(fault: faults.Fault, text: str) -> None:
    async def test() -> None:
        lost: list[LdapConnection] = []
        connector = Connector.of(settings(server), 5)
        connection = await connector.connect(uri(server), lost.append, Pulse(), as_service=False)
        asked = [find(connection)]
        await come(server, "search")
        asked.append(find(connection))
        for each in asked:
            with pytest.raises(ConnectionLost, match=text):
                await each
        assert lost == [connection]
        with pytest.raises(ConnectionLost, match="the connection is closed"):
            await find(connection)
        connection.close()
        assert lost == [connection]

    with FakeLdap() as server:
        server.fault("search", faults.silent, fault)
        run(test())


def test_messages_before_garbage_still_count() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            assert (await find(connection)).entries == [PENGUIN]
            assert connection.lost

    with FakeLdap() as server:
        server.fault("search", faults.followed_by(messages.GARBAGE))
        run(test())


def test_a_search_that_finds_too_many_entries_is_cut_and_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with connected(server) as connection:
            everybody = request.search_template([people.PEOPLE], ["(mail=*)"], scope="sub", attributes=[])
            answer = await future(wait(connection.ask(everybody, [])))
            assert (len(answer.entries), answer.result.code) == (7, 4)
            await come(server, "abandon")
            assert (await find(connection)).entries == [PENGUIN]

    monkeypatch.setattr(module, "MAX_ENTRIES", 7)
    with FakeLdap(MANY) as server:
        run(test())


def test_references_are_bounded_like_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with connected(server) as connection:
            answer = await find(connection)
            assert (len(answer.references), answer.result.code) == (7, 4)

    monkeypatch.setattr(module, "MAX_ENTRIES", 7)
    with FakeLdap() as server:
        server.table.references += ["ldap://elsewhere/"] * 20
        run(test())


def test_controls_and_extended_values_come_with_the_answer() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            answer = await bind(connection)
            assert (answer.result.code, answer.controls) == (49, {"1.2.3": b"x"})
            who = await future(wait(connection.ask_once(lambda number: request.extended(number, request.WHO_AM_I))))
            assert (who.extended_value, who.server) == (b"dn:", uri(server))

    with FakeLdap() as server:
        server.fault("bind", faults.result(49, controls={"1.2.3": b"x"}))
        run(test())


def test_a_fault_of_one_login_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("its text may hold a password")

    async def test() -> None:
        clock = Clock()
        async with connected(server, TIMEOUT) as connection:
            # The answers come in one segment: all of them in one read.
            drive(wait(connection.ask(FIND, [b"u0"])), fault)
            assert [dn for dn, _, _ in (await find(connection, b"u1")).entries]
            assert not connection.lost
            # When time is up ...
            drive(wait(connection.ask(FIND, [b"u2"])), fault)
            slow = find(connection, b"u3")
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout):
                await slow
        async with connected(server) as connection:
            # ... and when the connection is lost.
            drive(wait(connection.ask(FIND, [b"u4"])), fault)
            with pytest.raises(ConnectionLost):
                await find(connection, b"u5")

    def one_segment() -> list[faults.Fault]:
        first: list[bytes] = []

        async def keep(exchange: Exchange) -> None:
            first.append(exchange.answer)

        async def send(exchange: Exchange) -> None:
            await exchange.send(first[0] + exchange.answer)

        return [keep, send]

    with FakeLdap(MANY) as server, caplog.at_level(logging.ERROR):
        server.fault("search", *one_segment(), faults.silent, faults.silent, faults.silent, faults.close)
        run(test())
    assert caplog.text.count("internal error: RuntimeError at ") == 3
    assert "password" not in caplog.text


def test_a_request_of_values_that_make_none_sends_nothing() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            with pytest.raises(request.UnencodableError):
                connection.ask(request.simple_bind_template(), [b"", b"x"])
            assert connection.pending == 0
            assert (await find(connection)).entries == [PENGUIN]

    with FakeLdap() as server:
        run(test())
        assert [each.operation for each in server.requests][:1] == ["search"]


def test_the_message_ids_begin_anew_after_the_last() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            connection._next_id = request.LAST_ID
            for _ in range(2):
                assert (await find(connection)).entries == [PENGUIN]

    with FakeLdap() as server:
        run(test())
        asked = server.wait_for("search", 2)
    assert [each.message_id for each in asked] == [request.LAST_ID, request.FIRST_ID]


def test_a_flow_may_close_the_connection_while_answers_are_read() -> None:
    async def test() -> None:
        async with connected(server) as connection:
            reply: Reply[Answer] = connection.ask(FIND, [b"u0"])
            drive(wait(reply), lambda *_: connection.close())
            with suppress(ConnectionLost):  # unless its answer came together with the other one
                await find(connection, b"u1")
            with pytest.raises(ConnectionLost, match="closed"):
                await find(connection, b"u2")

    with FakeLdap(MANY) as server:
        server.fault("search", *faults.in_order(0, 1))
        run(test())
        server.wait_for("unbind")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing that refers to itself is freed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@needs_reference_counts
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("ldaps", [False, True])
def test_a_connection_that_breaks_waits_for_no_collector(tmp_path: Path, ldaps: bool) -> None:
    authority = Authority(tmp_path)

    async def test() -> None:
        connector = Connector.of(settings(server, tls_cacert_file=str(authority.certificate)), PATIENT)
        ended = asyncio.Event()
        connection = await connector.connect(uri(server), lambda _: None, Pulse(), as_service=True)
        left = weakref.ref(connection)
        drive(wait(connection.ask(FIND, [b"u0"])), lambda *_: ended.set())
        del connection
        await ended.wait()
        await asyncio.sleep(0)  # asyncio lets go of it in the next turn
        assert left() is None

    with FakeLdap(authority=authority, ldaps=ldaps) as server:
        server.fault("search", faults.close)
        run(test())


@needs_reference_counts
@pytest.mark.usefixtures("no_collector")
def test_a_flow_that_fails_waits_for_no_collector() -> None:
    class Login:
        pass

    async def wait_for(reply: Reply[None], login: Login) -> None:
        try:
            await reply
        except ConnectionLost as error:
            failure = error
        assert isinstance(login, Login)
        raise failure

    reply, login = Reply[None](), Login()
    left = weakref.ref(login)
    drive(wait_for(reply, login), lambda *_: None)
    del login
    deliver_failure(reply, ConnectionLost("gone"))
    assert left() is None
