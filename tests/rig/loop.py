"""What a test's event loop must not leave behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server, whose connections stay: asyncio would lose one that it has accepted in this very turn."""
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)
    server.close()


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; an AssertionError if it leaves a task, or asyncio had an error to report.

    What it leaves open (sockets, transports) warns when it is collected, which pytest makes a failure.
    """
    reported: list[dict[str, Any]] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        async with asyncio.timeout(60):
            value = await test
        await asyncio.sleep(0)  # what asyncio itself has cancelled ends one turn later
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left: {left}"
        return value

    value = asyncio.run(watched())
    gc.collect()
    assert not reported, f"asyncio reports: {reported}"
    return value
