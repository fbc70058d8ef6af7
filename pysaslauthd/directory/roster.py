"""The servers of a configuration in their order, and what is done for them in the background.

A domain in place of a host stands for the servers that DNS names; they are looked up again when one of them has
failed, and when DNS says so.
"""

from __future__ import annotations

import asyncio
import logging

from pysaslauthd.config import LdapSettings, ServerUri
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.deliver import deliver, deliver_failure
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.server import Server
from pysaslauthd.directory.srv import Lookup, Records
from pysaslauthd.errors import DirectoryDown, DirectoryError
from pysaslauthd.flow import Reply

logger = logging.getLogger(__name__)

TEND_SECONDS = 15.0
"""How often idle connections are looked after."""
LOOKUP_SECONDS = 2.0
"""How long DNS may take."""
LOOKUP_PAUSE = 1.0
"""Seconds between two questions about one domain at least."""


class _Domain:
    """A domain, and the servers that it stands for."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.servers: list[Server] = []
        self.task: asyncio.Task[Records] | None = None
        self.asked = float("-inf")
        self.expires = float("-inf")
        self.error = ""


class Roster:
    """The servers. All methods are called on the event loop.

    :param binders: connections for user binds that each server keeps.
    :raises ConfigError: a domain is given, and the library that would look it up is not installed.

    ``servers`` are those known now, the preferred one first; the list itself stays the same.
    """

    def __init__(self, settings: LdapSettings, connector: Connector, binders: int) -> None:
        self.servers: list[Server] = []
        self._connector = connector
        self._binders = binders
        self._loop = asyncio.get_running_loop()
        self._entries = [_Domain(Lookup(uri)) if uri.domain else self._server(uri) for uri in settings.servers]
        self._domains = [each for each in self._entries if isinstance(each, _Domain)]
        self._retired: list[Server] = []
        self._waiting: list[Reply[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._arrange()

    def _server(self, uri: ServerUri) -> Server:
        return Server(uri, self._connector, self._binders)

    def _arrange(self) -> None:
        of_entries = [each.servers if isinstance(each, _Domain) else [each] for each in self._entries]
        self.servers[:] = [server for servers in of_entries for server in servers]

    @property
    def answering(self) -> bool:
        """Whether any server is up."""
        return any(server.up for server in self.servers)

    @property
    def first(self) -> Server | None:
        """The first server, where it is as it should be: then it alone is to be asked."""
        servers = self.servers
        return servers[0] if servers and servers[0].up and not servers[0].late else None

    def in_order(self) -> list[Server]:
        """The servers as they are to be asked: those that are late after the others, those known to be down last."""
        servers = self.servers
        if len(servers) == 1 and servers[0].up:
            return servers
        if servers and servers[0].up and not servers[0].late:
            return [*servers]
        if servers and all(server.up is False for server in servers):
            for server in servers:  # tried beside each other, so that all together take one time-out
                server.connect()
            for domain in self._domains:
                self._look_up(domain)
        return sorted(servers, key=lambda server: (server.up is False, server.late))

    async def known(self) -> None:
        """Wait until DNS has told of a server. A flow.

        :raises DirectoryError: it told of none.
        """
        reply: Reply[None] = Reply()
        self._waiting.append(reply)
        for domain in self._domains:
            self._look_up(domain)
        self._tell()
        await reply

    def states(self) -> list[ServerState]:
        """How each server is, in their order; a domain of which no server is known stands for itself."""
        states: list[ServerState] = []
        for entry in self._entries:
            if isinstance(entry, Server):
                states.append(entry.state())
            elif entry.servers:
                states += [server.state() for server in entry.servers]
            else:
                seconds = max(0.0, self._loop.time() - entry.asked) if entry.error else 0.0
                states.append(ServerState(entry.lookup.uri.text, False if entry.error else None, seconds, entry.error))
        return states

    # -- in the background

    def start(self) -> None:
        """Begin to connect to the first server, and to look after all."""
        for domain in self._domains:
            self._look_up(domain)
        if self.servers:
            self.servers[0].connect()
        self._timer = self._loop.call_later(TEND_SECONDS, self._tend_again)

    def _tend_again(self) -> None:
        self._timer = self._loop.call_later(TEND_SECONDS, self._tend_again)
        self.tend()

    def tend(self) -> None:
        """Probe idle connections to the server in use, close those to the servers after it, ask DNS again."""
        wanted = True
        for server in self.servers:
            server.tend(wanted=wanted)
            wanted = wanted and not server.up
        for server in [*self._retired]:
            server.tend(wanted=False)
            if not server.state().connections:
                self._retired.remove(server)
        now = self._loop.time()
        for domain in self._domains:
            if domain.expires < now or any(server.up is False for server in domain.servers):
                self._look_up(domain)

    def _look_up(self, domain: _Domain) -> None:
        now = self._loop.time()
        if domain.task is None and not self._stopping and now - domain.asked >= LOOKUP_PAUSE:
            domain.asked = now
            domain.task = self._loop.create_task(domain.lookup.servers(LOOKUP_SECONDS))
            domain.task.add_done_callback(lambda task: self._looked_up(domain, task))

    def _looked_up(self, domain: _Domain, task: asyncio.Task[Records]) -> None:
        domain.task = None
        if not task.cancelled():
            error = task.exception()
            if error is None:
                if domain.error:
                    domain.error = ""
                    logger.warning("%s: DNS answers again", domain.lookup.uri.text)
                self._take(domain, task.result())
            elif not isinstance(error, DirectoryError):  # pragma: no cover - a fault of this program's own
                logger.error("internal error: %s while looking up %s", type(error).__name__, domain.lookup.name)
            elif not domain.error:
                domain.error = str(error)
                logger.warning("%s%s", error, "; the servers known so far stay" if domain.servers else "")
        self._tell()

    def _take(self, domain: _Domain, records: Records) -> None:
        """Use the servers that DNS named. Those that it names still keep their connections."""
        domain.expires = self._loop.time() + records.seconds
        known = {(server.uri.host.lower(), server.uri.port): server for server in domain.servers}
        addresses = [(uri.host.lower(), uri.port) for uri in records.servers]
        if {*known} == {*addresses}:  # the order among equals is chance: once is enough
            return
        new = dict(zip(addresses, records.servers, strict=True))
        domain.servers = [known.get(address) or self._server(uri) for address, uri in new.items()]
        for address, server in known.items():
            if address not in new:
                server.retire()
                self._retired.append(server)
        logger.info("%s: DNS names %s", domain.lookup.uri.text, " ".join(each.uri.text for each in domain.servers))
        self._arrange()
        if self.servers[0].up is None:
            self.servers[0].connect()

    def _tell(self) -> None:
        """Let go on who waits for DNS, unless it may yet help."""
        if not self.servers and any(domain.task is not None for domain in self._domains):
            return
        waiting, self._waiting = self._waiting, []
        reason = "; ".join(domain.error for domain in self._domains if domain.error) or "no directory server"
        for reply in waiting:
            if self.servers:
                deliver(reply, None)
            else:
                deliver_failure(reply, DirectoryDown(reason))

    async def stop(self) -> None:
        """Close all connections, end all attempts (an asyncio coroutine). What is in flight, and what comes, fails."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [domain.task for domain in self._domains if domain.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for server in [*self.servers, *self._retired]:
            await server.stop()
