"""Which server is asked, and who is asked instead where that one gives no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from pysaslauthd.directory.answer import Answer, refuse
from pysaslauthd.directory.roster import Roster
from pysaslauthd.directory.server import Server
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryError


class Attempt(NamedTuple):
    """A server that has been asked, and what came of it."""

    server: Server
    came: Answer | DirectoryError


class Failover:
    """Asks the servers of a roster.

    :param attempts: how often each is asked where the connection breaks under the request.

    ``failovers`` counts the operations that were asked of another server than the first.
    """

    def __init__(self, roster: Roster, *, attempts: int) -> None:
        self.failovers = 0
        self._roster = roster
        self._servers = roster.servers
        self._attempts = attempts

    async def answer(
        self,
        ask: Callable[[Server], Awaitable[Answer]],
        elsewhere: frozenset[int],
        doing: str,
        made: Attempt | None = None,
    ) -> Answer:
        """That of the first server that gives one; each is asked once more where the connection broke under the
        request.

        :param elsewhere: the result codes for which another server is asked.
        :param made: the attempt that has been made already, with the first server.
        """
        failure: DirectoryError | None = None
        if not self._servers:
            await self._roster.known()
        if made is None:
            servers = self._roster.in_order()
        else:  # the order as it was then: it was not the time to look for servers that are down
            servers = [made.server, *(server for server in self._servers if server is not made.server)]
        for server in servers:
            if server is not self._servers[0]:
                self.failovers += 1
            for attempt in range(self._attempts):
                if attempt and server.up is False:  # found to be hung or down meanwhile
                    break
                try:
                    if made is None:
                        answer = await ask(server)
                    else:
                        came, made = made.came, None
                        if isinstance(came, DirectoryError):
                            raise came
                        answer = came
                except ConnectionLost as error:
                    failure = error
                    continue
                except DirectoryError as error:
                    failure = error
                    break
                if answer.result.code not in elsewhere:
                    return answer
                failure = refuse(answer, doing)
                break
            if failure is not None:  # pragma: no branch - what is no answer is one
                server.failed(failure)
        raise failure or DirectoryDown("no directory server")
