"""Which server is asked, and who is asked instead where that one gives no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from pysaslauthd.directory.answer import Answer, refuse
from pysaslauthd.directory.roster import Roster
from pysaslauthd.directory.server import Server
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryError


class Asked(NamedTuple):
    """A server that has been asked, and what came of it."""

    server: Server
    came: Answer | DirectoryError


class Failover:
    """Asks the servers of a roster.

    :param attempts: how often each is asked where the connection breaks under the request.

    ``others`` counts the operations that were asked of another server than the first.
    """

    def __init__(self, roster: Roster, *, attempts: int) -> None:
        self.others = 0
        self._roster = roster
        self._servers = roster.servers
        self._attempts = attempts

    async def ask(
        self,
        ask: Callable[[Server], Awaitable[Answer]],
        elsewhere: frozenset[int],
        doing: str,
        asked: Asked | None = None,
    ) -> Answer:
        """Ask the first server that answers; once more where the connection broke under the request.

        :param elsewhere: the result codes for which another server is asked.
        :param asked: what has been asked already.
        """
        failure: DirectoryError | None = None
        if not self._servers:
            await self._roster.known()
        if asked is None:
            servers = self._roster.in_order()
        else:  # the order as it was then: it was not the time to look for servers that are down
            servers = [asked.server, *(server for server in self._servers if server is not asked.server)]
        for server in servers:
            if server is not self._servers[0]:
                self.others += 1
            for attempt in range(self._attempts):
                if attempt and server.up is False:  # found to be hung or down meanwhile
                    break
                try:
                    if asked is None:
                        answer = await ask(server)
                    else:
                        came, asked = asked.came, None
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
