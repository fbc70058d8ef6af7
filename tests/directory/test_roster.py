"""The servers in their order: domains that DNS turns into servers, and what is done in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pysaslauthd.directory import roster as module
from pysaslauthd.directory import server as server_module
from pysaslauthd.directory.interface import Bound, Found
from pysaslauthd.directory.roster import Roster
from pysaslauthd.directory.servers import Servers
from pysaslauthd.directory.srv import Lookup, Records
from pysaslauthd.errors import DirectoryDown, DirectoryTimeout
from pysaslauthd.flow import future
from rig import faults
from rig.clock import Clock
from rig.fake_dns import FakeDns, Srv, fake_dns
from rig.fake_ldap import FakeLdap
from rig.loop import run

from .asking import PASSWORD, PATIENT, PENGUIN, PENGUIN_DN, TIMEOUT, asking, search

FOUND = Found([PENGUIN])
DOMAIN = "ldap:///dc=hoge,dc=cxm"


def srv(server: FakeLdap, priority: int = 0) -> Srv:
    return priority, 0, server.port, "127.0.0.1"


@asynccontextmanager
async def in_dns(
    monkeypatch: pytest.MonkeyPatch, *records: Srv, start: bool = False, **keys: Any
) -> AsyncIterator[tuple[Servers, FakeDns]]:
    async with fake_dns(ldap=[*records]) as dns:
        monkeypatch.setattr(Lookup.__init__, "__defaults__", (dns.resolver,))
        async with asking(DOMAIN, start=start, **keys) as directory:
            yield directory, dns


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the loop is about to do anyway."""
    while not true():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0)


async def bind(directory: Servers) -> Bound:
    return await future(directory.bind(PENGUIN_DN, PASSWORD))


def searches(server: FakeLdap, base: bytes) -> int:
    return sum(each.operation == "search" and each.body["baseObject"] == base for each in [*server.requests])


# -- domains


@pytest.mark.parametrize("start", [True, False])
def test_the_servers_of_a_domain_are_asked_in_their_order(start: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with in_dns(monkeypatch, srv(second, 20), srv(first, 10), start=start) as (directory, dns):
            assert await asyncio.gather(*(search(directory) for _ in range(5))) == [FOUND] * 5
            assert dns.asked == ["_ldap._tcp.hoge.cxm"]
            assert [state.server for state in directory.states()] == [first.uri, second.uri]
            await asyncio.to_thread(first.stop)
            assert await search(directory) == FOUND

    with FakeLdap() as first, FakeLdap() as second:
        run(test())
        assert (searches(second, b"ou=People,dc=hoge,dc=cxm")) == 1


def test_a_domain_without_an_answer_is_asked_again_and_logins_do_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.1)
    monkeypatch.setattr(module, "LOOKUP_PAUSE", 0.0)

    async def test() -> None:
        async with in_dns(monkeypatch, srv(server), start=True) as (directory, dns):
            assert [state[:2] for state in directory.states()] == [(DOMAIN, None)]
            dns.silent = True
            for _ in range(2):
                with pytest.raises(DirectoryDown, match=r"dc=cxm: DNS, _ldap._tcp.hoge.cxm: .*lifetime"):
                    await search(directory)
            assert [state[:2] for state in directory.states()] == [(DOMAIN, False)]
            dns.silent = False
            monkeypatch.setattr(module, "LOOKUP_SECONDS", PATIENT)
            assert await search(directory) == FOUND
            assert [state[:2] for state in directory.states()] == [(server.uri, True)]

    with FakeLdap() as server, caplog.at_level(logging.INFO):
        run(test())
    assert caplog.text.count("lifetime") == 1
    assert "DNS answers again" in caplog.text


def test_where_the_servers_of_a_domain_have_failed_dns_is_asked_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_PAUSE", 0.0)

    async def test() -> None:
        async with in_dns(monkeypatch, srv(old)) as (directory, dns):
            assert await search(directory) == FOUND
            await asyncio.to_thread(old.stop)
            dns.records["_ldap._tcp.hoge.cxm"] = [srv(new)]
            with pytest.raises(DirectoryDown):
                await search(directory)
            with pytest.raises(DirectoryDown):  # which is when DNS is asked
                await search(directory)
            await until(lambda: directory.states()[0].server == new.uri)
            assert await search(directory) == FOUND

    with FakeLdap() as old, FakeLdap() as new:
        run(test())


def test_a_server_that_dns_names_no_more_ends_what_it_is_asked_and_is_asked_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOKUP_PAUSE", 0.0)

    async def test() -> None:
        async with in_dns(monkeypatch, srv(old), srv(kept)) as (directory, dns):
            roster = directory._roster
            await search(directory)
            preferred, other = (old, kept) if roster.servers[0].uri.port == old.port else (kept, old)
            remaining = [*roster.servers][1]
            preferred.fault("search", faults.hold)
            slow = asyncio.create_task(search(directory))
            await asyncio.to_thread(preferred.wait_for, "search", 2)
            dns.records["_ldap._tcp.hoge.cxm"] = [srv(other)]
            roster._domains[0].expires = 0.0
            roster.tend()
            await until(lambda: len(roster.servers) == 1)
            assert roster.servers == [remaining]
            assert await search(directory) == FOUND
            roster.tend()
            assert [server.state().in_flight for server in roster._retired] == [1]
            preferred.release()
            assert await slow == FOUND
            roster.tend()
            assert roster._retired == []
            await asyncio.to_thread(preferred.wait_closed)

    with FakeLdap() as old, FakeLdap() as kept:
        run(test())


def test_the_same_servers_in_another_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with in_dns(monkeypatch, srv(one), srv(other)) as (directory, _):
            assert await search(directory) == FOUND
            roster = directory._roster
            before = [*roster.servers]
            records = Records(tuple(server.uri for server in reversed(before)), 60.0)
            roster._take(roster._domains[0], records)
            assert roster.servers == before

    with FakeLdap() as one, FakeLdap() as other:
        run(test())


def test_a_preferred_server_that_dns_still_names_is_not_connected_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with in_dns(monkeypatch, srv(first, 10), srv(second, 20)) as (directory, _):
            assert await search(directory) == FOUND
            roster = directory._roster
            preferred = roster.servers[0]
            roster._take(roster._domains[0], Records((preferred.uri,), 60.0))
            assert roster.servers == [preferred]
            assert preferred._connecting is None

    with FakeLdap() as first, FakeLdap() as second:
        run(test())


def test_stop_ends_a_question_to_dns_and_who_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with in_dns(monkeypatch, start=True) as (directory, dns):
            dns.silent = True
            waiting = asyncio.create_task(search(directory))
            await dns.came.wait()
        with pytest.raises(DirectoryDown):
            await waiting

    run(test())


# -- in the background


def test_a_connection_that_broke_without_a_sign_is_found_before_a_login_needs_it() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(server, seconds=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            server.fault("search", faults.silent)
            roster = directory._roster
            roster.tend()
            await asyncio.to_thread(server.wait_for, "search", 2)
            clock.move(TIMEOUT)
            await until(lambda: roster.servers[0].up is False)
            await until(lambda: roster.servers[0].state().connections == 0)
            assert await search(directory) == FOUND  # at once, as the time-out is over

    with FakeLdap() as server:
        run(test())
        assert searches(server, b"") == 1
        assert server.accepted == 2


def test_once_a_connection_broke_without_a_sign_the_other_idle_ones_are_not_trusted_either() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(server, seconds=TIMEOUT) as directory:
            await search(directory)
            # Two connections for binds, both forgotten, while what is new works.
            server.fault("bind", faults.hold, faults.hold)
            two = [asyncio.create_task(bind(directory)) for _ in range(2)]
            await asyncio.to_thread(server.wait_for, "bind", 3)
            server.release()
            assert [bound.code for bound in await asyncio.gather(*two)] == [0, 0]
            preferred = directory._roster.servers[0]
            assert len(preferred._binders) == 2
            server.fault("bind", faults.silent)
            server.fault("search", faults.honest, *[faults.silent] * 2)  # a login's, then the probes
            late = asyncio.create_task(bind(directory))
            await asyncio.to_thread(server.wait_for, "bind", 4)
            clock.move(TIMEOUT / 2)
            assert await search(directory) == FOUND  # so that the server is not taken for hung
            clock.move(TIMEOUT)
            with pytest.raises(DirectoryTimeout):
                await late
            assert preferred._binders == []
            assert preferred.up
            assert (await bind(directory)).code == 0  # at once, on a new connection

    with FakeLdap() as server:
        run(test())
        assert server.accepted == 4


def test_a_probe_that_is_refused_is_an_answer() -> None:
    async def test() -> None:
        async with asking(server) as directory:
            assert await search(directory) == FOUND
            directory._roster.tend()
            await asyncio.to_thread(server.wait_for, "search", 2)
            assert await search(directory) == FOUND

    with FakeLdap() as server:
        server.fault("search", faults.honest, faults.result(53))
        run(test())
        assert server.accepted == 1


def test_a_lost_connection_is_replaced_and_so_a_dead_server_is_known_before_a_login_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SHORTEST_LIFE", 0.0)

    async def test() -> None:
        async with asking(server, other) as directory:
            assert await search(directory) == FOUND
            preferred = directory._roster.servers[0]
            await asyncio.to_thread(server.drop)
            await until(lambda: server.accepted == 2 and preferred.searcher() is not None)
            await asyncio.to_thread(server.stop)
            await until(lambda: preferred.up is False)
            assert await search(directory) == FOUND

    with FakeLdap() as server, FakeLdap() as other:
        run(test())


def test_once_the_preferred_server_is_back_idle_connections_to_the_other_are_closed_and_busy_ones_not() -> None:
    async def test() -> None:
        async with asking(first, second) as directory:
            roster = directory._roster
            await asyncio.to_thread(first.stop)
            assert await search(directory) == FOUND
            second.fault("search", faults.hold)
            slow = asyncio.create_task(search(directory))
            await asyncio.to_thread(second.wait_for, "search", 2)
            await asyncio.to_thread(first.listen)
            roster.servers[0].connect()
            await until(lambda: roster.servers[0].up is True)
            roster.tend()
            assert roster.servers[1].state().connections == 1
            second.release()
            assert await slow == FOUND
            roster.tend()
            assert roster.servers[1].state().connections == 0
            await asyncio.to_thread(second.wait_for, "unbind")
            assert await search(directory) == FOUND
            assert roster.servers[1].state().connections == 0

    with FakeLdap() as first, FakeLdap() as second:
        run(test())


def test_a_server_that_is_late_is_passed_over_until_it_is_looked_after_again() -> None:
    async def test() -> None:
        clock = Clock()
        async with asking(first, second, seconds=TIMEOUT) as directory:
            assert await search(directory) == FOUND
            first.fault("search", faults.silent)
            slow = asyncio.create_task(search(directory))
            await asyncio.to_thread(first.wait_for, "search", 2)
            clock.move(TIMEOUT / 2)
            assert await search(directory) == FOUND  # so that the first is not taken for hung
            clock.move(TIMEOUT)
            assert await slow == FOUND
            assert await search(directory) == FOUND
            assert (await bind(directory)).server == second.uri
            assert searches(first, b"ou=People,dc=hoge,dc=cxm") == 3
            assert [each.operation for each in first.requests].count("bind") == 1  # the service account's
            directory._roster.tend()
            assert (await bind(directory)).server == first.uri

    with FakeLdap() as first, FakeLdap() as second:
        run(test())


def test_it_tends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEND_SECONDS", 0.01)

    async def test() -> None:
        async with asking(server, start=True):
            await asyncio.to_thread(server.wait_for, "search", 3)

    with FakeLdap() as server:
        run(test())
        assert searches(server, b"") >= 3


def test_a_roster_of_nothing_but_hosts_asks_no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lookup, "__init__", None)

    async def test() -> None:
        async with asking("ldap://127.0.0.1:1") as directory:
            assert isinstance(directory._roster, Roster)

    run(test())
