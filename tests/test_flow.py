from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from pysaslauthd.flow import Reply, from_future, future, run
from rig.needs import needs_reference_counts


class Then:
    """What run() calls back."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, BaseException | None]] = []

    def __call__(self, value: object, error: BaseException | None) -> None:
        self.calls.append((value, error))


async def add(one: Reply[int], other: Reply[int]) -> int:
    return await one + await other


def test_a_flow_goes_on_where_the_answer_is_set() -> None:
    then, one, other = Then(), Reply[int](), Reply[int]()
    run(add(one, other), then)
    one.set(1)
    assert then.calls == []
    other.set(2)
    assert then.calls == [(3, None)]


def test_answers_may_come_before_they_are_awaited_and_in_any_order() -> None:
    then, one, other = Then(), Reply[int](), Reply[int]()
    other.set(2)
    run(add(one, other), then)
    one.set(1)
    assert then.calls == [(3, None)]


def test_an_error_is_raised_at_the_await() -> None:
    then, one, other = Then(), Reply[int](), Reply[int]()
    run(add(one, other), then)
    one.fail(error := ValueError("no"))
    assert then.calls == [(None, error)]


def test_only_the_first_answer_counts() -> None:
    then, one, other = Then(), Reply[int](), Reply[int]()
    run(add(one, other), then)
    one.set(1)
    one.set(10)
    one.fail(ValueError())
    other.set(2)
    other.set(20)
    assert then.calls == [(3, None)]
    assert one.done


def test_a_flow_that_needs_no_answer_ends_at_once() -> None:
    async def seven() -> int:
        return 7

    then = Then()
    run(seven(), then)
    assert then.calls == [(7, None)]


def test_a_thousand_ready_answers_need_no_deep_stack() -> None:
    async def total() -> int:
        result = 0
        for number in range(5000):
            reply = Reply[int]()
            reply.set(number)
            result += await reply
        return result

    then = Then()
    run(total(), then)
    assert then.calls == [(sum(range(5000)), None)]


@needs_reference_counts
def test_a_reply_that_was_answered_holds_nobody() -> None:
    one, other = Reply[int](), Reply[int]()
    flow = add(one, other)
    alive = weakref.ref(flow)
    run(flow, Then())
    del flow
    one.set(1)
    other.set(2)
    assert alive() is None


def test_asyncio_can_await_a_flow_and_a_flow_a_future() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        source: asyncio.Future[int] = loop.create_future()
        one = Reply[int]()
        result = future(add(one, from_future(source)))
        one.set(1)
        loop.call_soon(source.set_result, 2)
        assert await result == 3

        failing = future(add(one, from_future(broken := loop.create_future())))
        broken.set_exception(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            await failing

        ended = future(add(one, from_future(cancelled := loop.create_future())))
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended

    asyncio.run(main())


def test_an_answer_for_nobody_is_harmless() -> None:
    async def main() -> None:
        one, other = Reply[int](), Reply[int]()
        result = future(add(one, other))
        result.cancel()
        one.set(1)
        other.set(2)

    asyncio.run(main())
