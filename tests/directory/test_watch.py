"""The watch, against servers that do as they are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from pysaslauthd.directory import watch as module
from pysaslauthd.directory import watcher
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.names import name_of
from pysaslauthd.directory.watch import CHECKS_PER_GRACE, Watch
from pysaslauthd.directory.watch_connection import Change
from pysaslauthd.wire.ldap import change
from rig import faults, people
from rig import ldap_messages as messages
from rig.clock import Clock
from rig.fake_ldap import FakeLdap
from rig.ldap_table import PEOPLE
from rig.programs import wait_until

from .asking import settings

GRACE = 20.0
NAME = name_of(people.PENGUIN_DN.encode())
MODIFIED = bytes.fromhex("30030a0104")
UUID = bytes(16)


def tree(*controls: str) -> dict[str, Any]:
    root = {
        "objectClass": [b"top"],
        "supportedControl": [each.encode() for each in controls],
        "namingContexts": [people.SUFFIX.encode()],
    }
    return {"": root, **PEOPLE}


class Cache:
    """What the watch has told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.known = 1
        self.checks = False
        self.changed_something = asyncio.Event()

    def _tell(self, what: Any) -> None:
        self.told.append(what)
        self.changed_something.set()

    def changed(self, names: Sequence[bytes]) -> int:
        self._tell(tuple(names))
        return self.known

    def changed_below(self, base: bytes) -> int:
        self._tell(("below", base))
        return 0

    def changed_any(self) -> None:
        self._tell("any")

    def watched(self) -> None:
        self._tell("watched")

    def lost(self) -> None:
        self._tell("lost")

    def unwatchable(self) -> bool:
        self._tell("unwatchable")
        return self.checks

    async def until(self, *told: Any) -> None:
        """Wait until exactly this has been told."""
        async with asyncio.timeout(30):
            while self.told != [*told]:
                self.changed_something.clear()
                await self.changed_something.wait()


class Rig:
    """A watch over fake servers, with a grace that a busy machine does not exhaust."""

    def __init__(self, *servers: FakeLdap, **keys: Any) -> None:
        self.servers = servers
        self.cache = Cache()
        self.up: dict[FakeLdap, bool | None] = dict.fromkeys(servers, True)
        own = settings(*servers, search_base=people.PEOPLE, watch=True, watch_grace=GRACE, **keys)
        self.watch = Watch(own, self.states, self.cache)

    def states(self) -> list[ServerState]:
        return [ServerState(server.uri, up, 0.0) for server, up in self.up.items()]


@asynccontextmanager
async def watching(*servers: FakeLdap, **keys: Any) -> AsyncIterator[Rig]:
    rig = Rig(*servers, **keys)
    rig.watch.start()
    try:
        yield rig
    finally:
        await rig.watch.stop()


def persistent() -> FakeLdap:
    """A server that keeps its second search with a base below the suffix open."""
    return FakeLdap(tree(change.PERSISTENT_SEARCH))


def keep_open(server: FakeLdap, after: int) -> None:
    """Answer so many searches, and not the next one."""
    server.fault("search", *[faults.honest] * after, faults.silent)


def watch_id(server: FakeLdap, number: int = 0) -> int:
    """The messageID of the search that does not end."""
    marks = {change.PERSISTENT_SEARCH, change.SYNC_REQUEST}
    return [request.message_id for request in server.requests if marks & request.controls.keys()][number]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "SETTLING", 0.0)
    monkeypatch.setattr(module, "CHECKS_PER_GRACE", 200)  # one in 0.1 s


def test_a_persistent_search_asks_for_no_attribute_and_covers_the_naming_context() -> None:
    async def main() -> None:
        with persistent() as server:
            keep_open(server, 3)
            async with watching(server) as rig:
                await rig.cache.until("watched")
                asked = next(each for each in server.requests if change.PERSISTENT_SEARCH in each.controls)
                assert asked.body["baseObject"] == people.SUFFIX.encode()
                assert asked.body["attributes"] == [b"1.1"]
                assert asked.body["filter"] == ("present", b"objectClass")
                assert asked.bound == people.SERVICE_DN
                assert rig.watch.covered
                (state,) = rig.watch.states()
                assert (state.server, state.watching, state.how) == (server.uri, True, "persistent search")

                server.send(messages.entry(watch_id(server), people.PENGUIN_DN, {}, {change.ENTRY_CHANGE: MODIFIED}))
                await rig.cache.until("watched", (NAME,))
                assert rig.watch.states()[0].changes == 1

    asyncio.run(main())


def test_a_synchronisation_begins_with_what_the_server_has_and_is_trusted_once_that_is_over() -> None:
    async def main() -> None:
        entries = tree(change.SYNC_REQUEST)
        entries[people.SUFFIX] = {**entries[people.SUFFIX], "contextCSN": [b"20261124#1", b"20261124#2"]}
        with FakeLdap(entries) as server:
            keep_open(server, 4)
            async with watching(server) as rig:
                await asyncio.to_thread(server.wait_for, "search", 5)
                asked = next(each for each in server.requests if change.SYNC_REQUEST in each.controls)
                assert asked.body["baseObject"] == people.PEOPLE.encode()
                assert asked.controls[change.SYNC_REQUEST].endswith(b"rid=000,csn=20261124#1;20261124#2")
                assert rig.cache.told == []
                server.send(messages.intermediate(watch_id(server), change.SYNC_INFO, b"\xa1\x00"))
                await rig.cache.until("watched")
                away = f"uid=x,ou=Former,{people.SUFFIX}"
                state = bytes([0x30, 21, 0x0A, 1, 3, 0x04, 16]) + UUID
                server.send(messages.entry(watch_id(server), away, {}, {change.SYNC_STATE: state}))
                names = (name_of(away.encode()), UUID.hex().encode())
                await rig.cache.until("watched", names)
                rig.cache.known = 0
                server.send(messages.entry(watch_id(server), away, {}, {change.SYNC_STATE: state}))
                await rig.cache.until("watched", names, names, "any")

    asyncio.run(main())


def test_what_the_service_account_ought_to_see_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        for kind, told in ((change.PERSISTENT_SEARCH, 3), (change.SYNC_REQUEST, 4)):
            entries = tree(kind)
            entries[people.SUFFIX] = {"dc": [b"hoge"]}  # not seen by (objectClass=*)
            with FakeLdap(entries) as server:
                for _ in range(2):
                    keep_open(server, told)
                async with watching(server) as rig:
                    await asyncio.to_thread(server.wait_for, "search", told + 1)
                    server.drop()
                    await asyncio.to_thread(server.wait_for, "search", 2 * told + 2)
                    assert rig.watch.states()[0].server == server.uri

    asyncio.run(main())
    assert caplog.text.count('to dc=hoge,dc=cxm add aci: (targetattr="objectClass")') == 1
    assert caplog.text.count("let the service account read contextCSN of dc=hoge,dc=cxm") == 1
    assert caplog.text.count("let the service account read entryUUID") == 1


def test_a_lost_connection_is_told_at_once_and_made_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async def begin_anew(_: faults.Exchange) -> None:
            keep_open(server, 3)

        with persistent() as server:
            keep_open(server, 3)
            async with watching(server) as rig:
                await rig.cache.until("watched")
                server.fault("connect", faults.close, begin_anew)
                server.drop()
                await rig.cache.until("watched", "lost")
                assert not rig.watch.covered
                assert rig.watch.states()[0].losses == 1
                await rig.cache.until("watched", "lost", "watched")
                assert server.accepted == 3

    asyncio.run(main())
    assert caplog.text.count("changes of the directory are not told: ") == 1
    assert "those older than 20 s are asked again" in caplog.text


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (
            lambda at: messages.result("search", at, 50, "no"),
            "the server ended the persistent search: result 50 (insufficientAccessRights): no",
        ),
        (lambda at: messages.entry(at, people.PENGUIN_DN, {}), "does not decode"),
        (lambda _: messages.disconnection(), "the server ends the connection"),
        (lambda _: messages.GARBAGE, "is not LDAP"),
    ],
)
def test_a_watch_that_the_server_ends_or_breaks_is_lost(fault: Callable[[int], bytes], error: str) -> None:
    async def main() -> None:
        with persistent() as server:
            keep_open(server, 3)
            async with watching(server) as rig:
                await rig.cache.until("watched")
                server.send(fault(watch_id(server)))
                await rig.cache.until("watched", "lost")
                assert error in rig.watch.states()[0].error

    asyncio.run(main())


def test_a_change_that_comes_while_the_watch_ends_is_told_to_nobody() -> None:
    async def main() -> None:
        with persistent() as server:
            keep_open(server, 3)
            async with watching(server) as rig:
                await rig.cache.until("watched")
                stopping = asyncio.create_task(rig.watch.stop())
                await asyncio.sleep(0)  # it has begun
                rig.watch._watchers[server.uri]._take(Change((NAME,), unclear=True))
                await stopping
                assert rig.cache.told == ["watched"]

    asyncio.run(main())


def test_a_connection_that_says_nothing_is_lost_within_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKS_PER_GRACE", CHECKS_PER_GRACE)

    async def main() -> None:
        clock = Clock()
        with persistent() as server:
            # One probe is answered when it begins.
            server.fault("search", *[faults.honest] * 3, faults.silent, faults.honest, *[faults.silent] * 100)
            async with watching(server) as rig:
                await rig.cache.until("watched")
                clock.move(GRACE * 0.3)
                await asyncio.to_thread(server.wait_for, "search", 6)
                clock.move(GRACE * 0.6)
                await rig.cache.until("watched", "lost")
                assert "no answer within 10 s" in rig.watch.states()[0].error

    asyncio.run(main())


def test_a_synchronisation_that_does_not_begin_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(module, "CHECKS_PER_GRACE", 1)  # no second attempt, which would tell of another error

    async def main() -> None:
        with FakeLdap(tree(change.SYNC_REQUEST)) as server:
            keep_open(server, 4)
            async with watching(server) as rig:
                await asyncio.to_thread(wait_until, lambda: any(each.error for each in rig.watch.states()), "an error")
                assert rig.watch.states()[0].error.endswith(": no changes told within 0 s")
                assert rig.cache.told == []

    asyncio.run(main())


@pytest.mark.parametrize("checks", [False, True])
def test_where_no_server_can_tell_that_is_said_once(checks: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with FakeLdap(tree()) as server:
            rig = Rig(server)
            rig.cache.checks = checks
            rig.watch.start()
            await rig.cache.until("unwatchable")
            await asyncio.sleep(0)
            await rig.watch.stop()
            assert not rig.watch.covered

    asyncio.run(main())
    assert caplog.text.count("offers neither persistent search nor content synchronisation") == 1
    assert caplog.text.count("cache_revalidate") == checks


def test_who_sees_nobody_is_told_nothing_and_that_is_no_watch() -> None:
    async def main() -> None:
        entries = tree(change.PERSISTENT_SEARCH)
        for dn in [*entries]:
            if dn:
                entries[dn] = {name: held for name, held in entries[dn].items() if name != "objectClass"}
        with FakeLdap(entries) as server:
            async with watching(server) as rig:
                await asyncio.to_thread(wait_until, lambda: any(each.error for each in rig.watch.states()), "an error")
                assert "nothing below dc=hoge,dc=cxm can be seen by (objectClass=*)" in rig.watch.states()[0].error
                assert rig.cache.told == []

    asyncio.run(main())


def test_where_the_base_hangs_on_the_login_there_is_nothing_to_watch(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with persistent() as server:
            own = settings(server, search_base="%D", watch=True)
            cache = Cache()
            watch = Watch(own, list, cache)
            watch.start()
            await watch.stop()
            assert cache.told == ["unwatchable"]

    asyncio.run(main())
    assert "there is no part to watch" in caplog.text


def test_all_servers_that_answer_must_be_watched() -> None:
    async def main() -> None:
        with ExitStack() as stack:
            first, second = stack.enter_context(persistent()), stack.enter_context(FakeLdap(tree()))
            keep_open(first, 3)
            rig = Rig(first, second)
            rig.up[second] = None
            rig.watch.start()
            try:
                await rig.cache.until("watched")
                rig.up[second] = True
                await rig.cache.until("watched", "lost", "unwatchable")
                rig.up[second] = False
                await rig.cache.until("watched", "lost", "unwatchable", "watched")
            finally:
                await rig.watch.stop()

    asyncio.run(main())


def test_what_a_server_has_said_goes_when_its_watch_is_lost_though_another_covers() -> None:
    async def main() -> None:
        with ExitStack() as stack:
            first, second = stack.enter_context(persistent()), stack.enter_context(persistent())
            keep_open(first, 3)
            keep_open(second, 3)
            rig = Rig(first, second)
            rig.watch.start()
            try:
                await rig.cache.until("watched")
                rig.up[first] = False
                first.stop()
                await rig.cache.until("watched", "any")
                assert rig.watch.covered
                rig.up[second] = None
                second.drop()
                await rig.cache.until("watched", "any", "lost")
            finally:
                await rig.watch.stop()

    asyncio.run(main())


def test_servers_come_and_go() -> None:
    async def main() -> None:
        with ExitStack() as stack:
            first, second = stack.enter_context(persistent()), stack.enter_context(persistent())
            keep_open(first, 3)
            keep_open(second, 3)
            rig = Rig(first)
            rig.watch.start()
            try:
                await rig.cache.until("watched")
                rig.up = {second: True}
                await rig.cache.until("watched", "lost", "watched")
                assert [state.server for state in rig.watch.states()] == [second.uri]
                first.wait_closed()
            finally:
                await rig.watch.stop()
            second.wait_closed()
            assert rig.cache.told == ["watched", "lost", "watched"], "stopping tells nothing"

    asyncio.run(main())


def test_a_search_that_a_server_refuses_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with watching(server):
            await asyncio.to_thread(
                wait_until, lambda: "result 80 (other): on fire" in caplog.text, "the refusal in the log"
            )

    with persistent() as server:
        server.fault("search", faults.result(80, "on fire"))
        asyncio.run(main())
    assert "changes of the directory are not told" in caplog.text
