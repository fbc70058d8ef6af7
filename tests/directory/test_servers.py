"""The directory behind ldap_servers: what is asked of whom, what is asked again, what a result means."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from pysaslauthd.directory import server as server_module
from pysaslauthd.directory import servers as module
from pysaslauthd.directory.interface import Bound, Found
from pysaslauthd.directory.servers import Servers
from pysaslauthd.errors import (
    ConnectionLost,
    DirectoryDown,
    DirectoryError,
    DirectoryRefused,
    DirectoryTimeout,
    ServiceBindRefused,
)
from pysaslauthd.flow import future
from pysaslauthd.wire.ldap import request
from rig import faults, people
from rig import ldap_messages as messages
from rig.clock import Clock
from rig.fake_ldap import FakeLdap
from rig.ldap_table import PEOPLE
from rig.loop import run
from rig.programs import free_port

from .asking import PASSWORD, PATIENT, PENGUIN, PENGUIN_DN, QUERY, TIMEOUT, asking, query, search, who

FOUND = Found([PENGUIN])


async def bind(directory: Servers, password: bytes = PASSWORD, dn: bytes = PENGUIN_DN) -> Bound:
    return await future(directory.bind(dn, password))


def asked(server: FakeLdap, operation: str) -> list[faults.Request]:
    return [each for each in server.requests if each.operation == operation]


def user_binds(server: FakeLdap) -> list[faults.Request]:
    return [each for each in asked(server, "bind") if each.body["name"] != people.SERVICE_DN.encode()]


def down() -> str:
    """A URI at which nobody listens."""
    return f"ldap://127.0.0.1:{free_port()}"


# -- what is asked and answered


def test_search_compare_and_bind() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            assert await search(directory) == FOUND
            assert await search(directory, "nobody@hoge.cxm") == Found([])
            mail = people.PENGUIN.encode()
            assert await future(directory.compare(PENGUIN_DN, "mail", mail)) is True
            assert await future(directory.compare(PENGUIN_DN, "mail", b"other")) is False
            assert await future(directory.compare(b"cn=nobody", "mail", mail)) is False
            assert await bind(directory) == Bound(0, server=server.uri)
            assert await bind(directory, b"wrong") == Bound(49, server=server.uri)
            plain = await future(directory.bind_plain(PENGUIN_DN, PASSWORD))
            assert plain == Bound(0, server=server.uri, authzid=b"dn:" + PENGUIN_DN)
            assert (await future(directory.bind_plain(PENGUIN_DN, b"wrong"))).code == 49

    with FakeLdap() as server:
        run(test())
        assert {each.bound for each in asked(server, "search") + asked(server, "compare")} == {people.SERVICE_DN}
        policy = {request.PASSWORD_POLICY: b""}
        assert [each.controls for each in user_binds(server)] == [policy] * 4


def test_operations_are_counted_with_their_time_and_whether_they_had_a_usable_answer() -> None:
    counted: list[tuple[str, bool]] = []

    def count(operation: str, seconds: float, answered: bool) -> None:
        assert 0 < seconds < PATIENT
        counted.append((operation, answered))

    async def test() -> None:
        async with asking(server, count=count) as directory:
            await search(directory)
            await search(directory, "nobody@hoge.cxm")
            await future(directory.search(query(filter_="(mail=%u*)"), who("")))
            await future(directory.compare(PENGUIN_DN, "mail", b"other"))
            await bind(directory, b"wrong")
            await future(directory.bind_plain(PENGUIN_DN, PASSWORD))
            server.fault("search", faults.result(50))
            with pytest.raises(DirectoryRefused):
                await search(directory)
            server.fault("compare", faults.result(50))
            with pytest.raises(DirectoryRefused):
                await future(directory.compare(PENGUIN_DN, "mail", b"other"))
            server.fault("bind", faults.result(51))
            with pytest.raises(DirectoryRefused):
                await bind(directory)

    with FakeLdap() as server:
        run(test())
    answered = [(operation, True) for operation in ("search", "search", "search", "compare", "bind", "bind")]
    assert counted == [*answered, ("search", False), ("compare", False), ("bind", False)]


def test_version_2_sends_no_control() -> None:
    async def test() -> None:
        async with asking(server, version=2) as directory:
            assert (await bind(directory)).code == 0
            assert await search(directory) == FOUND

    with FakeLdap() as server:
        run(test())
        assert {(each.body["version"], tuple(each.controls)) for each in asked(server, "bind")} == {(2, ())}


def test_controls_of_a_bind_and_its_message_are_told() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            expired = await bind(directory)
            assert expired == Bound(49, "password expired!", {"2.16.840.1.113730.3.4.4": b"0"}, server.uri)

    with FakeLdap() as server:
        server.fault("bind", faults.result(49, "password expired!", controls={"2.16.840.1.113730.3.4.4": b"0"}))
        run(test())


def test_a_bind_without_a_dn_is_nobodys_and_is_not_sent() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            assert (await bind(directory, dn=b"")).code == 34

    with FakeLdap() as server:
        run(test())
        assert server.requests == []


def test_values_that_make_no_request_mean_nobody() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            substring = query(filter_="(cn=*%d)")
            assert await future(directory.search(substring, who("penguin"))) == Found([])
            assert await future(directory.compare(b"", "member", PENGUIN_DN)) is False

    with FakeLdap() as server:
        run(test())
        assert asked(server, "search") == []


def test_a_filter_that_is_none_is_found_before_it_is_asked() -> None:
    async def test() -> None:
        async with asking(down()) as directory:
            directory.prepare(QUERY)
            with pytest.raises(ValueError, match="invalid filter"):
                directory.prepare(query(filter_="(mail=%u"))

    run(test())


@pytest.mark.parametrize(
    ("code", "fixed", "of_tokens"),
    [
        (0, Found([]), Found([])),
        (4, Found([], size_limit_exceeded=True), Found([], size_limit_exceeded=True)),
        (32, None, Found([])),  # a base that nobody typed is missing: that says nothing about the user
        (34, None, Found([])),
        (1, None, None),
        (3, None, None),
        (10, None, None),
        (50, None, None),
        (53, None, None),
        (80, None, None),
    ],
)
def test_what_a_searchs_result_means(code: int, fixed: Found | None, of_tokens: Found | None) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            for asked, expected in ((QUERY, fixed), (query("ou=%d,dc=hoge,dc=cxm"), of_tokens)):
                found = future(directory.search(asked, who()))
                if expected is not None:
                    assert await found == expected
                    continue
                with pytest.raises(
                    DirectoryRefused, match=rf"^ldap://\S+: search: result {code} \(\w+\): why"
                ) as refused:
                    await found
                assert refused.value.code == code

    with FakeLdap() as server:
        server.fault("search", *[faults.result(code, "why")] * 2)
        run(test())


@pytest.mark.parametrize(
    ("code", "meaning"), [(0, False), (5, False), (6, True), (16, False), (17, False), (32, False), (50, None)]
)
def test_what_a_compares_result_means(code: int, meaning: bool | None) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            compared = future(directory.compare(PENGUIN_DN, "member", b"x"))
            if meaning is not None:
                assert await compared is meaning
                return
            with pytest.raises(DirectoryRefused, match="compare: result 50"):
                await compared

    with FakeLdap() as server:
        server.fault("compare", faults.result(code))
        run(test())


def test_references_are_counted_and_not_followed_unless_asked() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            assert await search(directory) == Found([PENGUIN], references=2)

    with FakeLdap() as server, FakeLdap() as other:
        server.table.references += [f"{other.uri}/dc=other"] * 2
        run(test())
        assert other.accepted == 0


@pytest.mark.parametrize("follow", [False, True])
def test_a_bind_is_never_referred(follow: bool) -> None:
    async def test() -> None:
        async with asking(server, referrals=follow) as directory:
            for bound in (bind(directory), future(directory.bind_plain(PENGUIN_DN, PASSWORD))):
                with pytest.raises(DirectoryRefused, match=r"bind: result 10 .*referral to ldap://"):
                    await bound

    with FakeLdap() as server, FakeLdap() as other:
        server.fault("bind", *[faults.result(10, "elsewhere", referrals=[other.uri])] * 2)
        run(test())
        assert other.accepted == 0


# -- in flight together


def test_a_bind_waits_behind_no_search_and_a_search_behind_no_bind() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            slow = [search(directory) for _ in range(3)]
            searches = [asyncio.create_task(each) for each in slow]
            await asyncio.to_thread(server.wait_for, "search", 3)
            assert (await bind(directory)).code == 0
            server.fault("bind", faults.hold)
            bound = asyncio.create_task(bind(directory))
            await asyncio.to_thread(lambda: server.wait_for("bind", 3))
            assert await search(directory) == FOUND
            assert not bound.done()
            server.release()
            assert await asyncio.gather(*searches) == [FOUND] * 3
            assert (await bound).code == 0

    with FakeLdap() as server:
        server.fault("search", *[faults.hold] * 3)
        run(test())


@pytest.mark.parametrize(("binds", "at_once"), [(1, 1), (3, 3), (0, 12)])
def test_binds_under_way_are_bounded_and_zero_is_no_bound(binds: int, at_once: int) -> None:
    async def test() -> None:
        async with asking(server, binds=binds) as directory:
            bound = [asyncio.create_task(bind(directory)) for _ in range(12)]
            await asyncio.to_thread(server.wait_for, "bind", at_once)
            assert await search(directory) == FOUND  # so the other binds have had their turn to come
            assert len(user_binds(server)) == at_once
            server.release()
            assert {each.code for each in await asyncio.gather(*bound)} == {0}
            assert len(user_binds(server)) == 12

    with FakeLdap() as server:
        server.fault("bind", *[faults.hold] * at_once)
        run(test())


def test_searches_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEARCHES", 2)

    async def test() -> None:
        async with asking(server) as directory:
            found = [asyncio.create_task(search(directory)) for _ in range(6)]
            await asyncio.to_thread(server.wait_for, "search", 2)
            assert (await bind(directory)).code == 0
            assert len(asked(server, "search")) == 2
            server.release()
            assert await asyncio.gather(*found) == [FOUND] * 6

    with FakeLdap() as server:
        server.fault("search", *[faults.hold] * 2)
        run(test())


def test_many_at_once_each_get_their_own_answer() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            found = await asyncio.gather(*(search(directory, f"u{number}@hoge.cxm") for number in range(300)))
            for number, (entries, *_) in enumerate(found):
                assert entries[0].attributes == {"userpassword": [b"p%d" % number]}

    everybody = {
        f"uid=u{number},{people.PEOPLE}": {"mail": [b"u%d@hoge.cxm" % number], "userPassword": [b"p%d" % number]}
        for number in range(300)
    }
    with FakeLdap({**PEOPLE, **everybody}) as server:
        run(test())


# -- what goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.close, id="close"),
        pytest.param(faults.cut(9), id="cut"),
        pytest.param(faults.raw(messages.GARBAGE), id="garbage"),
        pytest.param(faults.raw(messages.HUGE_LENGTH), id="huge_length"),
        pytest.param(faults.raw(messages.disconnection()), id="disconnection"),
    ],
)
def test_a_lost_connection_is_made_again_and_the_request_asked_once_more(fault: faults.Fault) -> None:
    async def test() -> None:
        async with asking(server) as directory:
            assert await search(directory) == FOUND
            assert (await bind(directory)).code == 0
        async with asking(server, restart=False) as directory:
            with pytest.raises(ConnectionLost):
                await bind(directory)
            with pytest.raises(ConnectionLost):
                await search(directory)
            assert await search(directory) == FOUND

    with FakeLdap() as server:
        server.fault("search", fault, faults.honest, fault)
        # The service account twice, the user twice; then the user once.
        server.fault("bind", faults.honest, faults.honest, fault, faults.honest, fault)
        run(test())
        assert len(asked(server, "search")) == 4


def test_a_request_is_asked_twice_at_most() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            with pytest.raises(ConnectionLost, match="not LDAP"):
                await search(directory)

    with FakeLdap() as server:
        server.fault("search", *[faults.raw(messages.GARBAGE)] * 5)
        run(test())
        assert len(asked(server, "search")) == 2


def test_a_slow_search_times_out_alone() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(server, seconds=TIMEOUT) as directory:
            slow = asyncio.create_task(search(directory))
            await asyncio.to_thread(server.wait_for, "search")
            clock.move(TIMEOUT / 2)
            assert await search(directory) == FOUND
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout, match=r"no answer within 0\.3 s"):
                await slow
            assert await search(directory) == FOUND
            await asyncio.to_thread(server.wait_for, "abandon")

    with FakeLdap() as server:
        server.fault("search", faults.hold)
        run(test())
        assert server.accepted == 1


def test_a_slow_bind_takes_neither_the_searches_nor_the_other_binds_with_it() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(server, seconds=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            slow = asyncio.create_task(bind(directory))
            await asyncio.to_thread(server.wait_for, "bind", 2)
            clock.move(TIMEOUT / 2)
            assert (await bind(directory)).code == 0
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout):
                await slow
            assert await search(directory) == FOUND
            assert (await bind(directory)).code == 0

    with FakeLdap() as server:
        server.fault("bind", faults.honest, faults.silent)
        run(test())
        # Searches on one, the slow bind on another, which is not used again; the bind before it on a third, which is
        # probed before it is trusted, so that the bind after it may be on a fourth.
        slow, *later = [each.connection for each in user_binds(server)]
        assert slow not in later
        assert server.accepted in (3, 4)


def test_a_connection_with_a_bind_that_timed_out_is_not_used_again() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(server, seconds=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            slow = asyncio.create_task(bind(directory))
            await asyncio.to_thread(server.wait_for, "bind", 2)
            clock.move(TIMEOUT / 2)
            server.release()
            while directory._roster.servers[0]._pulse.heard < clock.now:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout) as late:
                await slow
            assert not late.value.silent
            assert (await bind(directory)).code == 0

    async def wrong_id_later(exchange: faults.Exchange) -> None:
        await exchange.released.wait()
        await faults.wrong_id(exchange)

    with FakeLdap() as server:
        server.fault("bind", faults.honest, wrong_id_later)
        run(test())
        slow, good = user_binds(server)
        assert slow.connection != good.connection
        assert asked(server, "abandon") == []  # RFC 4511 section 4.11: a bind cannot be


def test_a_hung_server_costs_one_time_out_and_then_the_next_is_asked_at_once() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(hung, good, seconds=TIMEOUT, connect_timeout=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            assert (await bind(directory)).server == hung.uri
            hung.fault("search", *[faults.silent] * 30)
            hung.fault("bind", *[faults.silent] * 30)
            first = [asyncio.create_task(search(directory)) for _ in range(3)]
            await asyncio.to_thread(hung.wait_for, "search", 1 + 3)
            clock.move(TIMEOUT * 0.5)
            later = [asyncio.create_task(search(directory)) for _ in range(20)]
            await asyncio.to_thread(hung.wait_for, "search", 1 + 3 + 20)
            clock.move(TIMEOUT * 0.6)
            # Those that came later do not wait for time-outs of their own, and from then on nobody waits.
            assert await asyncio.gather(*first, *later) == [FOUND] * 23
            assert (await bind(directory)).server == good.uri
            assert await search(directory) == FOUND

    with FakeLdap() as hung, FakeLdap() as good:
        run(test())


def test_what_fails_with_a_hung_server_begins_no_new_connection_to_it() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(hung, seconds=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            hung.fault("search", *[faults.silent] * 4)
            asked = [asyncio.create_task(search(directory)) for _ in range(2)]
            await asyncio.to_thread(hung.wait_for, "search", 1 + 2)
            clock.move(TIMEOUT * 0.5)
            asked += [asyncio.create_task(search(directory)) for _ in range(2)]
            await asyncio.to_thread(hung.wait_for, "search", 1 + 4)
            clock.move(TIMEOUT * 0.6)
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DirectoryTimeout, *[ConnectionLost] * 3]
            # Who comes once it answers again must not wait for an attempt from when it did not.
            assert [state.connections for state in directory.states()] == [0]
            assert directory._roster.servers[0]._connecting is None

    with FakeLdap() as hung:
        run(test())


def test_the_next_server_in_order_is_asked_where_one_is_down() -> None:
    async def test() -> None:
        async with asking(down(), second, third) as directory:
            for _ in range(3):
                assert await search(directory) == FOUND
                assert (await bind(directory)).server == second.uri

    with FakeLdap() as second, FakeLdap() as third:
        run(test())
        assert third.accepted == 0


def test_a_failed_server_is_remembered_and_comes_back_without_a_login_paying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(server_module, "LAST_RETRY", 0.01)

    async def test() -> None:
        async with asking(first, second) as directory:
            await asyncio.to_thread(first.stop)
            assert await search(directory) == FOUND
            preferred = directory._roster.servers[0]
            assert preferred.up is False
            monkeypatch.setattr(preferred, "connected", None)  # who asked it now would fail
            monkeypatch.setattr(preferred, "binder", None)
            assert await search(directory) == FOUND
            assert (await bind(directory)).server == second.uri
            monkeypatch.undo()
            await asyncio.to_thread(first.listen)
            assert preferred._reviving is not None
            await asyncio.wait([preferred._reviving])
            assert (first.accepted, preferred.up) == (1, True)
            second_asked = len(asked(second, "search"))
            assert await search(directory) == FOUND
            assert (await bind(directory)).server == first.uri
            assert len(asked(second, "search")) == second_asked
            assert len(asked(first, "search")) == 1

    with FakeLdap() as first, FakeLdap() as second:
        run(test())


@pytest.mark.parametrize("code", [51, 52])
def test_a_busy_server_is_passed_over(code: int) -> None:
    async def test() -> None:
        async with asking(busy, good) as directory:
            assert await search(directory) == FOUND
            assert await future(directory.compare(PENGUIN_DN, "uid", b"penguin"))
            assert (await bind(directory)).server == good.uri
            assert await search(directory) == FOUND
        async with asking(busy) as directory:
            with pytest.raises(DirectoryRefused, match=f"search: result {code}"):
                await search(directory)

    with FakeLdap() as busy, FakeLdap() as good:
        busy.fault("search", faults.result(code), faults.honest, faults.result(code))
        busy.fault("compare", faults.result(code))
        busy.fault("bind", faults.honest, faults.result(code))
        run(test())
        assert len(asked(good, "search")) == 1


def test_where_all_are_down_that_is_said_quickly_and_the_next_login_finds_the_first_that_is_back() -> None:
    async def test() -> None:
        Clock()  # nothing waits for it
        async with asking(server, down(), start=True) as directory:
            for _ in range(3):
                for asked in (search(directory), bind(directory)):
                    with pytest.raises(DirectoryDown, match="Connection refused"):
                        await asked
            await asyncio.to_thread(server.listen)
            assert await search(directory) == FOUND

    with FakeLdap() as server:
        server.stop()
        run(test())


def test_servers_that_are_all_hung_cost_one_connect_time_out_together() -> None:
    async def test() -> None:
        clock = Clock()
        accept = asyncio.get_running_loop().sock_accept
        async with asking(*hung, connect_timeout=TIMEOUT) as directory:
            first = asyncio.create_task(search(directory))
            for each in listeners:  # one after the other
                accepted.append((await accept(each))[0])
                clock.move(TIMEOUT)
            with pytest.raises(DirectoryDown):
                await first
            second = asyncio.create_task(search(directory))
            accepted.extend([(await accept(each))[0] for each in listeners])  # beside each other
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryDown, match=r"not connected within 0\.3 s"):
                await second

    accepted: list[socket.socket] = []
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    hung = [f"ldap://127.0.0.1:{each.getsockname()[1]}" for each in listeners]
    try:
        for each in listeners:
            each.setblocking(False)
        run(test())
    finally:
        for each in [*listeners, *accepted]:
            each.close()


def test_a_refused_service_account_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with asking(server, password=b"wrong") as directory:
            for _ in range(3):
                with pytest.raises(ServiceBindRefused) as refused:
                    await search(directory)
                assert refused.value.code == 49

    with FakeLdap() as server, caplog.at_level(logging.INFO):
        run(test())
    assert caplog.text.count("result 49") == 1


# -- the end


@pytest.mark.parametrize("moment", ["connecting", "in flight", "queued", "idle"])
def test_stop_answers_everybody_and_leaves_nothing(moment: str) -> None:
    async def test() -> None:
        async with asking(server, second, binds=2, start=True) as directory:
            logins: list[asyncio.Task[Any]] = []
            if moment != "connecting":
                assert await search(directory) == FOUND
            if moment != "idle":
                many = 500 if moment == "queued" else 2
                logins += [asyncio.create_task(search(directory)) for _ in range(many)]
                logins += [asyncio.create_task(bind(directory)) for _ in range(many)]
                await asyncio.to_thread(server.wait_for, "search" if moment != "connecting" else "bind", 1)
            await asyncio.sleep(0)
        for login in logins:
            with pytest.raises(DirectoryError):
                await login
        for gate in (directory._searching, directory._binding):
            assert (gate.inside, len(gate._waiting)) == (0, 0)

    with FakeLdap() as server, FakeLdap() as second:
        for each in (server, second):
            if moment == "connecting":
                each.fault("bind", *[faults.silent] * 10)
            else:
                each.fault("bind", faults.honest, *[faults.silent] * 10)
                each.fault("search", faults.honest, *[faults.silent] * 1000)
        run(test())
        server.wait_closed()
        second.wait_closed()
