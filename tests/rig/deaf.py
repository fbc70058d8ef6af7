"""A TCP server whose machine does not answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A loopback port on which nobody is connected and nobody refused: its queue is full (listen(2))."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # one is taken up, and what is past the backlog is dropped
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
