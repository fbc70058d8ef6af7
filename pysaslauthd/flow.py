"""Coroutines without tasks: the plainness of async/await at the price of a callback.

A login waits two or three times for an answer of the directory. An ``asyncio.Task`` and a ``Future`` for
each cost as much CPU as the login itself, most of it in trips through the event loop's queue. Here a
coroutine is driven by whoever delivers the answer: :meth:`Reply.set` runs the waiting coroutine on the
spot, up to its next ``await``. The code reads like any coroutine; what it awaits must be a
:class:`Reply`, or another coroutine of this kind. :func:`future` is the way in from asyncio, and
:func:`from_future` the way out to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Flow = Coroutine["Reply[Any]", Any, T]
"""What :func:`run` drives: a coroutine that awaits nothing but replies."""


class Reply(Generic[T]):
    """An answer that will come once: awaited by one coroutine, set by whoever has the answer.

    Setting it a second time does nothing: a late answer is no error.
    """

    __slots__ = ("_done", "_error", "_value", "_waiting")

    def __init__(self) -> None:
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiting: run[Any] | None = None

    @property
    def done(self) -> bool:
        """Whether the answer has come."""
        return self._done

    def set(self, value: T) -> None:
        """Deliver the answer; the waiting coroutine runs before this returns."""
        if not self._done:
            self._done = True
            self._value = value
            waiting = self._waiting
            if waiting is not None:
                self._waiting = None
                waiting.go_on()

    def fail(self, error: BaseException) -> None:
        """Deliver an exception in place of an answer."""
        if not self._done:
            self._done = True
            self._error = error
            waiting = self._waiting
            if waiting is not None:
                self._waiting = None
                waiting.go_on()

    def __await__(self) -> Generator[Reply[Any], None, T]:
        if not self._done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set() stored a T, or fail() an error


class run(Generic[T]):  # noqa: N801 - it is used as the function that it spares
    """Drive a coroutine; call ``then(value, None)`` or ``then(None, error)`` once, perhaps before returning.

    The coroutine under way is this object, and no closure, which would be a cycle for the collector.
    """

    __slots__ = ("_flow", "_then")

    def __init__(self, flow: Flow[T], then: Callable[[T | None, BaseException | None], None]) -> None:
        self._flow = flow
        self._then = then
        self.go_on()

    def go_on(self) -> None:
        """Run on to the next reply that is not there yet, or to the end."""
        try:
            self._flow.send(None)._waiting = self
        except StopIteration as stop:
            value: T = stop.value
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            self._then(None, error)
            return
        else:
            return  # until the reply is set
        self._then(value, None)


def future(flow: Flow[T]) -> asyncio.Future[T]:
    """The same coroutine as an asyncio future, for callers that are not hot."""
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def then(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # no error, so the value is a T

    run(flow, then)
    return result


def from_future(source: asyncio.Future[T]) -> Reply[T]:
    """An asyncio future (a task, a job in a thread) as a reply that a flow can await."""
    reply: Reply[T] = Reply()

    def deliver(finished: asyncio.Future[T]) -> None:
        if finished.cancelled():
            reply.fail(asyncio.CancelledError())
        elif (error := finished.exception()) is not None:
            reply.fail(error)
        else:
            reply.set(finished.result())

    source.add_done_callback(deliver)
    return reply
