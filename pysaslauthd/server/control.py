"""The control socket's shell: lines of an administrator's command to whatever carries them out, its replies back.

Plain asyncio: nothing here is on the way of a login.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pysaslauthd.errors import CommandError
from pysaslauthd.model import Peer
from pysaslauthd.server.listener import Listener, one_by_one, peer_of
from pysaslauthd.wire import control
from pysaslauthd.wire.control import MAX_REQUEST, Request

MAX_CONNECTIONS = 16
"""Connections at once: a few administrators and a monitor; each may hold two requests of memory."""
REQUEST_SECONDS = 10.0
"""Longest time for a request to arrive, from the connection or from the last reply on."""
ANSWER_SECONDS = 30.0
"""Longest time to carry out a command: reading a large LDIF file or a configuration on a slow disk."""
WRITE_SECONDS = 5.0
"""Longest time for a client to read a reply."""

_NOT_PERMITTED = CommandError("not-permitted", "only root and the daemon's user may ask; try sudo")

logger = logging.getLogger(__name__)

Answer = Callable[[Request], Awaitable[Mapping[str, Any]]]


class ControlServer:
    """Serves one control socket.

    :param answer: carries out a command and gives its reply; raises :class:`CommandError` to refuse it.
    :param users: the user ids that may ask; a client of another one is told so and nothing else.
    """

    def __init__(self, listener: Listener, answer: Answer, users: frozenset[int]) -> None:
        self._listener = listener
        self._answer = answer
        self._users = users
        self._conversations: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Serve on the running event loop."""
        self._listener.start(one_by_one(self._serve), self._conversations, max_connections=MAX_CONNECTIONS)

    async def stop(self) -> None:
        """Accept no more; break off what is under way."""
        self._listener.stop()
        for conversation in self._conversations:
            conversation.cancel()
        if self._conversations:
            await asyncio.wait(self._conversations)

    def _serve(self, client: socket.socket) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(client, peer_of(client)))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, client: socket.socket, peer: Peer) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=client, limit=MAX_REQUEST)
        name = f"{self._listener.path}: process {peer.pid} (uid {peer.uid})"
        # Then draining means that the kernel has taken all of a reply.
        writer.transport.set_write_buffer_limits(0)
        try:
            await self._talk(reader, writer, peer, name)
        except OSError as error:  # TimeoutError is one
            logger.info("%s: closing the connection: %s", name, error.strerror or "nothing came, or nothing was read")
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, name: str) -> None:
        try:
            while line := await _line(reader):
                if peer.uid not in self._users:
                    logger.warning("%s: refused: only root and the daemon's user may ask", name)
                    await _send(writer, control.encode_error(_NOT_PERMITTED))
                    return
                await _send(writer, await self._reply(line, name))
        except CommandError as error:
            await _send(writer, control.encode_error(error))

    async def _reply(self, line: bytes, name: str) -> bytes:
        try:
            request = control.parse_request(line)
            logger.debug("%s: %s", name, request.command)
            async with asyncio.timeout(ANSWER_SECONDS):
                return control.encode(await self._answer(request))
        except CommandError as error:
            return control.encode_error(error)
        except TimeoutError:
            return control.encode_error(CommandError("failed", f"not done within {ANSWER_SECONDS:g} s"))
        except Exception as error:  # a fault in a command must not take the logins with it
            logger.exception("%s: internal error", name)
            return control.encode_error(CommandError("failed", f"internal error: {type(error).__name__}, see the log"))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line that says something; empty at the end.

    :raises CommandError: it is too long. All of it has been read then, so that its client is not cut off in the middle
        of sending, and reads why.
    :raises TimeoutError: it does not come in time.
    """
    async with asyncio.timeout(REQUEST_SECONDS):
        try:
            while (line := await reader.readuntil()).isspace():
                pass
        except asyncio.IncompleteReadError as ended:
            return ended.partial.strip()
        except asyncio.LimitOverrunError:
            while (piece := await reader.read(MAX_REQUEST)) and b"\n" not in piece:
                pass
            raise CommandError("bad-request", f"a request has at most {MAX_REQUEST} bytes") from None
    return line


async def _send(writer: asyncio.StreamWriter, reply: bytes) -> None:
    writer.write(reply)
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()
