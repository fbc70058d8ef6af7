"""One timer for many deadlines, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from pysaslauthd.server.deadlines import Deadlines
from server.loop import on_a_loop


class Clock:
    """The running loop's time, standing still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = -1000.0  # far from the limit on the whole test
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def move(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@on_a_loop
async def test_each_item_expires_in_its_own_time() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        expired: list[str] = []
        deadlines = Deadlines(10, expired.append)
        deadlines.add("one")
        await clock.move(4)
        deadlines.add("two")
        await clock.move(4)
        deadlines.add("three")
        assert list(deadlines) == ["one", "two", "three"]
        await clock.move(1.9)
        assert expired == []
        await clock.move(0.2)
        assert expired == ["one"]
        await clock.move(4)
        assert expired == ["one", "two"]
        await clock.move(100)
        assert expired == ["one", "two", "three"]
        deadlines.add("four")
        await clock.move(10)
        assert expired[3:] == ["four"]


@on_a_loop
async def test_what_is_discarded_never_expires() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        expired: list[str] = []
        deadlines = Deadlines(10, expired.append)
        deadlines.add("one")
        deadlines.add("two")
        deadlines.discard("one")
        deadlines.discard("never added")
        await clock.move(5)
        deadlines.add("one")
        await clock.move(5)
        assert expired == ["two"]
        await clock.move(5)
        assert expired == ["two", "one"]


@on_a_loop
async def test_expiring_may_add_and_discard() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        expired: list[str] = []

        def expire(item: str) -> None:
            expired.append(item)
            deadlines.discard("two")
            if item == "one":
                deadlines.add("again")

        deadlines = Deadlines(10, expire)
        deadlines.add("one")
        deadlines.add("two")
        await clock.move(10)
        assert expired == ["one"]
        await clock.move(10)
        assert expired == ["one", "again"]


@on_a_loop
async def test_after_stop_nothing_expires() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        expired: list[str] = []
        deadlines = Deadlines(10, expired.append)
        deadlines.add("one")
        deadlines.stop()
        deadlines.stop()
        await clock.move(10)
        assert expired == []
