"""The rig's own event loops: a server that is closed loses no connection."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rig.loop import run, stop_listening


@pytest.mark.parametrize("turns", range(5))
def test_a_server_is_closed_while_a_connection_comes(turns: int) -> None:
    async def test() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname(), 60):
            for _ in range(turns):
                await asyncio.sleep(0)
            await stop_listening(server)
            for _ in range(5):  # until what came has been aborted
                await asyncio.sleep(0)

    run(test())
