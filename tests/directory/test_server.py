"""One server: its connections, its health, its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pysaslauthd.directory import server as module
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import LdapConnection
from pysaslauthd.directory.server import SEARCH_CONNECTIONS, Server
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryTimeout, ServiceBindRefused
from pysaslauthd.flow import future
from pysaslauthd.wire.ldap import request
from rig import faults, people
from rig.clock import Clock
from rig.fake_ldap import FakeLdap
from rig.loop import run
from rig.needs import needs_reference_counts

from .asking import PATIENT, TIMEOUT, settings, uri

FIND = request.search_template([people.PEOPLE], ["(mail=", ")"], scope="sub", attributes=["userPassword"])


@asynccontextmanager
async def served(fake: FakeLdap, seconds: float = PATIENT, *, binders: int = 5, **keys: Any) -> AsyncIterator[Server]:
    server = Server(uri(fake), Connector.of(settings(fake, **keys), seconds), binders)
    try:
        yield server
    finally:
        await server.stop()


def ask(connection: LdapConnection) -> None:
    """A request whose answer nobody waits for."""
    connection.ask(FIND, [b"nobody"])


def test_all_who_wait_for_the_first_connection_share_it() -> None:
    async def test() -> None:
        async with served(fake) as server:
            assert (server.searcher(), server.up) == (None, None)
            found = await asyncio.gather(*(future(server.connected()) for _ in range(20)))
            assert len(set(found)) == 1
            assert (server.searcher(), server.up) == (found[0], True)

    with FakeLdap() as fake:
        run(test())
        assert fake.accepted == 1


def test_busy_connections_are_joined_by_others_up_to_a_bound() -> None:
    async def test() -> None:
        async with served(fake) as server:
            first = await future(server.connected())
            for number in range(2, SEARCH_CONNECTIONS + 2):
                for _ in range(module.BUSY + 1):
                    best = server.searcher()
                    assert best is not None
                    ask(best)
                if number <= SEARCH_CONNECTIONS:
                    await asyncio.to_thread(fake.wait_connected, number)
                    while server._connecting is not None:
                        await asyncio.wait([server._connecting])
            assert len(server._searchers) == SEARCH_CONNECTIONS
            assert server.searcher() is min(server._searchers, key=lambda each: each.pending)
            assert first.pending <= 2 * module.BUSY + 1

    with FakeLdap() as fake:
        fake.fault("search", *[faults.silent] * 100)
        run(test())
        assert fake.accepted == SEARCH_CONNECTIONS


def test_connections_for_binds_are_kept_up_to_a_bound() -> None:
    async def test() -> None:
        async with served(fake, binders=2) as server:
            binders = await asyncio.gather(*(future(server.binder()) for _ in range(4)))
            assert len(set(binders)) == 4
            for binder in binders:
                server.release(binder)
            assert [binder.lost for binder in binders] == [False, False, True, True]
            assert [await future(server.binder()) for _ in range(2)] == [binders[1], binders[0]]

    with FakeLdap() as fake:
        run(test())
        assert fake.accepted == 4


def test_without_a_bound_on_binds_the_idle_connections_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_BINDERS", 1)

    async def test() -> None:
        async with served(fake, binders=0) as server:
            binders = await asyncio.gather(*(future(server.binder()) for _ in range(3)))
            for binder in binders:
                server.release(binder)
            assert sorted(binder.lost for binder in binders) == [False, True, True]

    with FakeLdap() as fake:
        run(test())


def test_a_lost_connection_is_not_used_again() -> None:
    async def test() -> None:
        async with served(fake) as server:
            searcher, idle = await future(server.connected()), await future(server.binder())
            used = await future(server.binder())
            server.release(idle)
            fake.fault("search", *[faults.silent] * 3)
            await asyncio.to_thread(fake.wait_connected, 3)
            in_flight = [future(_wait(each)) for each in (searcher, idle, used)]
            await asyncio.to_thread(fake.drop)
            for each in in_flight:
                with pytest.raises(ConnectionLost):
                    await each
            server.release(used)
            assert server.searcher() is None
            assert await future(server.binder()) not in (idle, used)
            assert server.up

    with FakeLdap() as fake:
        run(test())


def test_a_failure_is_said_once_and_so_is_the_return(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(module, "LAST_RETRY", 0.02)

    attempts = asyncio.Semaphore(0)
    ended = Server._connected

    def counted(self: Server, task: asyncio.Task[LdapConnection]) -> None:
        ended(self, task)
        attempts.release()

    monkeypatch.setattr(Server, "_connected", counted)

    async def test() -> None:
        async with served(fake) as server:
            fake.stop()
            for _ in range(3):
                with pytest.raises(DirectoryDown, match="Connection refused"):
                    await future(server.connected())
                assert server.up is False
            for _ in range(6):  # three of them in the background
                await attempts.acquire()
            await asyncio.to_thread(fake.listen)
            assert server._reviving is not None
            await asyncio.wait([server._reviving])
            assert server.up
            assert server.searcher() is not None  # nobody had to ask

    with FakeLdap() as fake, caplog.at_level(logging.INFO):
        run(test())
        assert fake.accepted == 1
    assert [record.message for record in caplog.records if record.name == module.__name__] == [
        f"directory server failed: {fake.uri}: Connection refused",
        f"directory server is back: {fake.uri}",
    ]


def test_a_server_that_a_login_has_found_back_is_not_connected_to_again() -> None:
    async def test() -> None:
        clock = Clock()
        async with served(fake) as server:
            fake.stop()
            with pytest.raises(DirectoryDown):
                await future(server.connected())
            fake.listen()
            await future(server.connected())
            assert server._reviving is not None
            clock.move(module.FIRST_RETRY * 2)
            await asyncio.wait([server._reviving])
            assert server._reviving is None

    with FakeLdap() as fake:
        run(test())
        assert fake.accepted == 1


def test_the_connection_for_binds_that_has_been_idle_for_longest_is_probed_and_is_the_next() -> None:
    async def test() -> None:
        async with served(fake, binders=2) as server:
            longest, other = await future(server.binder()), await future(server.binder())
            server.release(longest)
            server.release(other)
            server.tend(wanted=True)
            assert server._binders == [other]
            await future(_wait(longest))  # the probe is answered before
            assert server.idle_binder() is longest

    with FakeLdap() as fake:
        run(test())


def test_a_refused_service_account_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with served(fake, password=b"wrong") as server:
            for _ in range(3):
                with pytest.raises(ServiceBindRefused):
                    await future(server.connected())

    with FakeLdap() as fake, caplog.at_level(logging.INFO):
        run(test())
    assert [record.message for record in caplog.records if record.name == module.__name__] == [
        f"directory server failed: {fake.uri}: bind as {people.SERVICE_DN}: result 49 (invalidCredentials)"
    ]
    assert "wrong" not in caplog.text


def test_a_hung_server_is_given_up_as_a_whole() -> None:
    async def test() -> None:
        async with served(fake, PATIENT) as server:
            searcher, binder = await future(server.connected()), await future(server.binder())
            used = await future(server.binder())
            server.release(binder)
            seen: list[bool | None] = []
            forget = searcher._on_lost

            def lost(connection: LdapConnection) -> None:
                seen.append(server.up)
                forget(connection)

            searcher._on_lost = lost
            server.failed(DirectoryTimeout("slow", silent=False))
            assert (server.up, searcher.lost) == (True, False)
            server.failed(DirectoryTimeout("hung", silent=True))
            assert (searcher.lost, binder.lost, used.lost, server._open) == (True, True, True, set())
            assert seen == [False]  # who is thrown off must know already that it is down

    with FakeLdap() as fake:
        run(test())


def test_a_failure_beside_a_living_connection_does_not_count() -> None:
    async def test() -> None:
        async with served(fake) as server:
            searcher = await future(server.connected())
            server.failed(DirectoryDown("no room for another"))
            assert (server.up, searcher.pending) == (True, 0)
            server.failed(ConnectionLost("one of several"))
            assert (server.up, searcher.pending) == (True, 1)  # it is probed

    with FakeLdap() as fake:
        run(test())


@pytest.mark.parametrize("moment", ["before the first step", "connecting", "idle", "in flight", "down"])
def test_stop_leaves_nothing_and_answers_everybody(moment: str) -> None:
    async def test() -> None:
        server = Server(uri(fake), Connector.of(settings(fake), PATIENT), 5)
        if moment == "before the first step":
            asked: list[asyncio.Future[Any]] = [future(server.connected()), future(server.binder())]
        elif moment == "connecting":
            fake.fault("bind", faults.silent)
            asked = [future(server.connected())]
            await asyncio.to_thread(fake.wait_for, "bind")
        else:
            searcher, binder = await future(server.connected()), await future(server.binder())
            asked = []
            if moment == "in flight":
                fake.fault("search", faults.silent, faults.silent)
                asked = [future(_wait(each)) for each in (searcher, binder)]
                await asyncio.to_thread(fake.wait_for, "search", 2)
            elif moment == "down":
                server.failed(DirectoryTimeout("hung", silent=True))
        await server.stop()
        for each in asked:
            with pytest.raises((DirectoryDown, ConnectionLost)):
                await each
        server.failed(DirectoryDown("after the end"))
        server.connect()
        for late in (server.connected(), server.binder()):
            with pytest.raises(DirectoryDown, match="stopping"):
                await future(late)
        assert server._open == set()

    with FakeLdap() as fake:
        run(test())
        fake.wait_closed()


async def _wait(connection: LdapConnection) -> Any:
    return await connection.ask(FIND, [b"x"])


@needs_reference_counts
def test_a_thousand_losses_leave_no_connection_and_no_reply() -> None:
    async def test() -> None:
        async with served(fake) as server:
            known: weakref.WeakSet[Any] = weakref.WeakSet()
            for number in range(1000):
                connection = await future(server.connected() if number % 2 else server.binder())
                known.add(connection)
                asked = future(_wait(connection))
                connection.connection_lost(None)
                with pytest.raises(ConnectionLost):
                    await asked
                del connection, asked
            await asyncio.sleep(0)
            gc.collect()
            assert len(known) <= 2
            assert (server._open, server._waiting, server._searchers, server._binders) == (set(), [], [], [])

    with FakeLdap() as fake:
        run(test())


def test_a_fault_in_the_program_while_connecting_is_logged_and_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> LdapConnection:
        raise KeyError("its text may hold a password")

    async def test() -> None:
        monkeypatch.setattr(Connector, "connect", broken)
        async with served(fake, TIMEOUT) as server:
            for asked in (server.connected(), server.binder()):
                with pytest.raises(DirectoryDown, match="not connected"):
                    await future(asked)

    with FakeLdap() as fake:
        run(test())
    assert caplog.text.count("internal error: KeyError while connecting") == 2
    assert "password" not in caplog.text


def test_its_state_tells_since_when_and_what_failed_last() -> None:
    async def test() -> None:
        async with served(fake, binders=1) as server:
            untried = server.state()
            assert (untried.server, untried.up, untried.error) == (fake.uri, None, "")
            connection = await future(server.connected())
            fake.fault("search", faults.silent)
            ask(connection)
            state = server.state()
            assert (state.up, state.error, state.connections, state.in_flight) == (True, "", 1, 1)
            connection.close()
            fake.stop()
            with pytest.raises(DirectoryDown):
                await future(server.connected())
            down = server.state()
            assert (down.up, down.connections, down.in_flight) == (False, 0, 0)
            assert down.error.endswith("Connection refused")
            assert 0 <= down.seconds < 10
            fake.listen()
            await future(server.connected())
            back = server.state()
            assert (back.up, back.error, back.connections) == (True, down.error, 1)

    with FakeLdap() as fake:
        run(test())
