"""The gate: so many inside, the rest in order, and no flow pays for another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import pytest

from pysaslauthd.directory.gate import Gate
from pysaslauthd.errors import DirectoryError, DirectoryOverloaded, DirectoryTimeout
from pysaslauthd.flow import Reply, future
from pysaslauthd.flow import run as drive
from rig.clock import Clock
from rig.loop import run


def test_the_gate_lets_in_as_many_as_its_limit_and_the_others_in_order() -> None:
    async def test() -> None:
        gate, came, go = Gate(2, 5), list[int](), [Reply[None]() for _ in range(5)]

        async def flow(number: int) -> None:
            await gate.enter()
            came.append(number)
            await go[number]
            gate.leave()

        done = [future(flow(number)) for number in range(5)]
        assert (came, gate.inside) == ([0, 1], 2)
        go[1].set(None)
        assert (came, gate.inside) == ([0, 1, 2], 2)
        go[2].set(None)
        go[0].set(None)
        assert came == [0, 1, 2, 3, 4]
        for reply in go:
            reply.set(None)
        await asyncio.gather(*done)
        assert gate.inside == 0

    run(test())


def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    async def test() -> None:
        gate, came, first = Gate(1, 5), list[str](), Reply[None]()

        async def flow(name: str, until: Reply[None] | None = None) -> None:
            await gate.enter()
            came.append(name)
            if until is not None:
                await until
            gate.leave()
            if until is None:  # there is room, but it is another's turn
                drive(late("newcomer after " + name), lambda *_: None)

        async def late(name: str) -> None:
            await gate.enter()
            came.append(name)
            gate.leave()

        done = [future(flow("first", first)), future(flow("second")), future(flow("third"))]
        first.set(None)
        await asyncio.gather(*done)
        assert came == ["first", "second", "third", "newcomer after second", "newcomer after third"]
        assert gate.inside == 0

    run(test())


def test_zero_sets_no_bound() -> None:
    async def test() -> None:
        gate = Gate(0, 5)
        for _ in range(1000):
            await future(gate.enter())
        assert gate.inside == 1000

    run(test())


def test_thousands_that_leave_at_once_do_not_pile_up_on_the_stack() -> None:
    async def test() -> None:
        gate, go = Gate(1, 5), Reply[None]()

        async def first() -> None:
            await gate.enter()
            await go
            gate.leave()

        async def flow() -> None:
            await gate.enter()
            gate.leave()

        done = [future(first()), *(future(flow()) for _ in range(5000))]
        go.set(None)
        await asyncio.gather(*done)
        assert gate.inside == 0

    run(test())


@pytest.mark.parametrize(("answering", "error"), [(True, DirectoryOverloaded), (False, DirectoryTimeout)])
def test_who_has_waited_too_long_is_not_let_in(answering: bool, error: type[DirectoryError]) -> None:
    async def test() -> None:
        gate = Gate(1, 0.0, lambda: answering)
        await future(gate.enter())
        waiting = [future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0.001)  # the clock moves on
        gate.leave()
        for each in waiting:
            with pytest.raises(error, match="no turn within 0 s"):
                await each
        assert gate.inside == 0
        await future(gate.enter())

    run(test())


class _Crowd:
    """Flows at a gate of two at a time and 3 s of patience, and a clock. ``ended`` is what became of their waiting."""

    def __init__(self, flows: int) -> None:
        self.clock = Clock()
        self.gate = Gate(2, 3.0)
        self.ended: dict[int, object] = {}
        self.come(range(flows))

    def come(self, numbers: Iterable[int]) -> None:
        def enter(number: int) -> None:
            drive(self.gate.enter(), lambda _, error: self.ended.__setitem__(number, error))

        for number in numbers:
            enter(number)

    def turn(self, seconds: float) -> None:
        """Two have their turn after so long."""
        self.clock.move(seconds)
        self.gate.leave()
        self.gate.leave()


def test_who_cannot_have_a_turn_in_time_is_told_as_soon_as_that_is_known() -> None:
    async def test() -> None:
        # Each for 1 s: within 3 s the first six of those who wait have their turn.
        crowd = _Crowd(22)
        ended = crowd.ended
        assert ended == {0: None, 1: None}
        for _ in range(2):
            crowd.turn(1)
        refused = [number for number, error in ended.items() if isinstance(error, DirectoryOverloaded)]
        assert [number for number, error in ended.items() if error is None] == [0, 1, 2, 3, 4, 5]
        assert not {6, 7} & {*refused}  # who have their turn at the third second
        assert {*range(10, 22)} <= {*refused}
        crowd.come(range(22, 40))
        assert 22 not in ended
        assert isinstance(ended[39], DirectoryOverloaded)  # at once
        while crowd.gate.inside:
            crowd.gate.leave()
        crowd.come([99])
        assert ended[99] is None

    run(test())


def test_a_server_that_hung_once_turns_nobody_away() -> None:
    async def test() -> None:
        crowd = _Crowd(30)
        for seconds in (0.01, 0.01, 1.8, *[0.01] * 11):
            crowd.turn(seconds)
        assert crowd.ended == dict.fromkeys(range(30))

    run(test())


def test_a_fault_of_one_flow_hurts_neither_the_next_nor_the_one_that_leaves(caplog: pytest.LogCaptureFixture) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("its text may hold a password")

    async def test() -> None:
        gate, came = Gate(1, 5), list[str]()

        async def flow(name: str) -> None:
            await gate.enter()
            came.append(name)
            gate.leave()

        await future(gate.enter())
        drive(flow("faulty"), fault)
        other = future(flow("other"))
        gate.leave()
        await other
        assert came == ["faulty", "other"]
        assert gate.inside == 0

    with caplog.at_level(logging.ERROR):
        run(test())
    assert "internal error: RuntimeError at " in caplog.text
    assert "password" not in caplog.text
