"""What the fake LDAP server can be told to do wrong: ``server.fault("search", faults.close)``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rig import ldap_messages as messages


class Request(NamedTuple):
    """One request as it arrived."""

    operation: str
    """bind, search, compare, extended, unbind, abandon or another of RFC 4511."""
    message_id: int
    connection: int
    """Which connection, counted from 0 in the order of acceptance."""
    bound: str
    """As whom the connection was bound when it came; empty: nobody."""
    body: dict[str, Any]
    """The operation's fields by RFC 4511's names; of a bind: simple, or mechanism and credentials."""
    controls: dict[str, bytes]


class Exchange(NamedTuple):
    """What a fault is given. At a connect there is no request, and the answer is empty."""

    writer: asyncio.StreamWriter
    request: Request | None
    answer: bytes
    released: asyncio.Event

    async def send(self, data: bytes) -> None:
        """Write and flush."""
        self.writer.write(data)
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


async def honest(exchange: Exchange) -> None:
    """No fault: a place in the queue before one."""
    await exchange.send(exchange.answer)


async def close(exchange: Exchange) -> None:
    """Close without an answer."""
    exchange.writer.close()


async def silent(_: Exchange) -> None:
    """Never answer."""


async def hold(exchange: Exchange) -> None:
    """Answer once the test calls ``release()``."""
    await exchange.released.wait()
    await exchange.send(exchange.answer)


def in_order(*order: int) -> list[Fault]:
    """Faults for as many requests: once all have come, answer them in this order, counted from 0."""
    come: list[Exchange] = []

    async def fault(exchange: Exchange) -> None:
        come.append(exchange)
        if len(come) == len(order):
            for number in order:
                await come[number].send(come[number].answer)

    return [fault] * len(order)


async def drip(exchange: Exchange) -> None:
    """Answer octet by octet, each in a segment of its own."""
    for octet in exchange.answer:
        await exchange.send(bytes([octet]))
        await asyncio.sleep(0.001)


async def wrong_id(exchange: Exchange) -> None:
    """Answer with a messageID that was never asked with."""
    assert exchange.request is not None
    await exchange.send(messages.result(exchange.request.operation, 0x7FFFFFFF, 0))


def cut(octets: int) -> Fault:
    """Send so many octets of the answer, then close."""

    async def fault(exchange: Exchange) -> None:
        await exchange.send(exchange.answer[:octets])
        exchange.writer.close()

    return fault


def followed_by(data: bytes) -> Fault:
    """Answer, and send these octets in the same segment."""

    async def fault(exchange: Exchange) -> None:
        await exchange.send(exchange.answer + data)

    return fault


def raw(data: bytes) -> Fault:
    """Send these octets in place of the answer; ``messages`` has notices and bad lengths."""

    async def fault(exchange: Exchange) -> None:
        await exchange.send(data)

    return fault


def result(
    code: int, message: str = "", *, referrals: Sequence[str] = (), controls: Mapping[str, bytes] | None = None
) -> Fault:
    """Answer with this result code alone."""

    async def fault(exchange: Exchange) -> None:
        asked = exchange.request
        assert asked is not None
        await exchange.send(messages.result(asked.operation, asked.message_id, code, message, referrals, controls))

    return fault
