"""The random delays of --shake: whose they are, and how long."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time

import pytest

from rig.shake import BEGINS, WAITS, shake

TURNS = 200


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("seed", "first", "others"), [("1", False, True), ("2", True, True), ("4", True, False)])
def test_loops_and_threads_come_late(seed: str, first: bool, others: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((selectors.DefaultSelector, "select"), (threading.Thread, "run")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back at the end
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    shake(seed)
    asyncio.run(turns())
    assert (TURNS / 20 < len(delays) < TURNS / 5) is first
    assert all(0 <= delay < WAITS[1] for delay in delays)
    delays.clear()
    thread = threading.Thread(target=lambda: asyncio.run(turns()))
    thread.start()
    thread.join()
    assert (len(delays) > TURNS / 20) is others
    delays.clear()
    for _ in range(100):
        thread = threading.Thread()
        thread.start()
        thread.join()
    assert 30 < len(delays) < 70
    assert max(delays) < BEGINS[1]
