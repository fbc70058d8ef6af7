"""The watch over one server: a connection, kept up and probed, on which it tells of changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.answer import Answer, refuse
from pysaslauthd.directory.areas import Area
from pysaslauthd.directory.connect import Connector, wait
from pysaslauthd.directory.connection import LdapConnection
from pysaslauthd.directory.names import name_of
from pysaslauthd.directory.watch_connection import Change, Dialect, PersistentSearch, Synchronisation, WatchConnection
from pysaslauthd.errors import DirectoryDown, DirectoryError
from pysaslauthd.flow import future
from pysaslauthd.wire.ldap import change, codes, request

logger = logging.getLogger(__name__)

SETTLING = 0.5
"""Seconds from a persistent search to when it is taken to have begun, which 389 DS never says: it serves several
requests of one connection at once, so that the answer to a later one proves nothing. It takes it some milliseconds."""
REFRESH_SECONDS = 60.0
"""Longest time for a content synchronisation to begin: without a cookie, every entry is told first."""
IMPOSSIBLE_PAUSE = 60.0
"""Seconds until a server that cannot tell of changes is asked again whether it can."""


class _CannotTell(DirectoryError):
    """The server has no way to tell of changes."""


class Watcher:
    """Watches one server for as long as it is started, over any number of connections.

    :param connector: its time-out is how long a probe may take.
    :param areas: what to watch.
    :param pause: seconds between two probes, and between two attempts to connect.
    :param take: takes each change.
    :param turned: called with the server's URI when ``watching`` has changed.

    ``cannot_tell`` is whether the server has no way to tell of changes. ``doubts`` are the changes that the service
    account is not told of, one line each with what to do behind a semicolon. The others are as in
    :class:`~pysaslauthd.directory.watch.WatchState`.
    """

    _task: asyncio.Task[None]

    def __init__(
        self,
        server: ServerUri,
        connector: Connector,
        areas: Sequence[Area],
        pause: float,
        take: Callable[[Change], None],
        turned: Callable[[str], None],
    ) -> None:
        self.watching = False
        self.cannot_tell = False
        self.how = ""
        self.error = ""
        self.changes = 0
        self.losses = 0
        self.doubts: list[str] = []
        self._server = server
        self._connector = connector
        self._areas = areas
        self._pause = pause
        self._take_change = take
        self._turned = turned
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    @property
    def seconds(self) -> float:
        """How long it has been watching, or not."""
        return self._loop.time() - self._since

    def start(self) -> None:
        """Begin."""
        self._task = self._loop.create_task(self._run())

    async def stop(self) -> None:
        """Close the connection, after :meth:`start`."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self.cannot_tell = False
            try:
                await self.watch()
            except DirectoryError as error:
                self.error = str(error)
                self.cannot_tell = isinstance(error, _CannotTell)
            except Exception as error:  # pragma: no cover - a fault of this program's own
                self.error = f"internal error: {type(error).__name__}"
                logger.exception("watch of %s: internal error", self._server.text)
            await asyncio.sleep(IMPOSSIBLE_PAUSE if self.cannot_tell else self._pause)

    async def watch(self) -> None:
        """Connect, and watch over this one connection until it breaks off; it is closed in any case.

        :raises DirectoryError: why it did.
        """
        lost = asyncio.Event()

        def on_lost(_: LdapConnection) -> None:
            lost.set()
            self.error = connection.why
            self._turn(watching=False)

        connection = WatchConnection(self._server, self._connector.timeout, on_lost, self._take)
        await self._connector.open(connection, as_service=True)
        try:
            dialects = await self._begin(connection)
            late = self._loop.time() + REFRESH_SECONDS
            while not lost.is_set():
                await self._search(connection, "")
                waiting = [dialect.begun for dialect in dialects if not dialect.begun.is_set()]
                if not waiting and not lost.is_set():
                    self._turn(watching=True)
                elif self._loop.time() > late:
                    raise DirectoryDown(f"{self._server.text}: no changes told within {REFRESH_SECONDS:g} s")
                await _first(lost, *waiting[:1], within=self._pause)
        finally:
            connection.close()
        raise DirectoryDown(connection.why)

    async def _begin(self, connection: WatchConnection) -> list[Dialect]:
        """Ask for changes in the way that the server knows."""
        root = _only(await self._search(connection, "", ["supportedControl", "namingContexts"]))
        offered = {each.decode(errors="replace") for each in root.get("supportedcontrol", [])}
        contexts = [each.decode(errors="replace") for each in root.get("namingcontexts", [])]
        watches: list[tuple[Area, Dialect]] = []
        if change.PERSISTENT_SEARCH in offered:
            # An entry that leaves what is searched is told of only where it can still be found.
            wide = dict.fromkeys(_context(area, contexts) for area in self._areas)
            watches = [(Area(base), PersistentSearch()) for base in wide]
        elif change.SYNC_REQUEST in offered:
            for area in self._areas:
                context = _context(area, contexts)
                told = _only(await self._search(connection, context, ["contextCSN"]))
                numbers = told.get("contextcsn", [])
                if not numbers:
                    self._doubt(f"it begins with everybody; let the service account read contextCSN of {context}")
                cookie = b"rid=000,csn=" + b";".join(numbers) if numbers else b""
                watches.append((area, Synchronisation(area, cookie)))
        else:
            raise _CannotTell(
                f"{self._server.text} offers neither persistent search nor content synchronisation"
                " (OpenLDAP: overlay syncprov)"
            )
        for area, dialect in watches:
            await self._look(connection, area, dialect)
            connection.watch(area, dialect)
            self.how = dialect.how
        if self.how == PersistentSearch.how:
            await asyncio.sleep(SETTLING)
        return [dialect for _, dialect in watches]

    async def _look(self, connection: WatchConnection, area: Area, dialect: Dialect) -> None:
        """Whether the service account sees what it is to be told of.

        :raises DirectoryError: it sees nothing.
        """
        text, persistent = self._server.text, isinstance(dialect, PersistentSearch)
        topmost = await self._search(connection, area.base)
        anybody = await self._search(connection, area.base, ["entryUUID"], below=True)
        if anybody.result.code == codes.SUCCESS and not anybody.entries:
            raise DirectoryError(
                f"{text}: nothing below {area.base} can be seen by (objectClass=*), so no change is told"
            )
        if persistent and not topmost.entries:
            self._doubt(
                f"an entry that is moved, or gets another objectClass, may leave the service account's sight unseen;"
                f' to {area.base} add aci: (targetattr="objectClass")(version 3.0; acl "saslauthd watch";'
                f' allow (read,search) userdn="ldap:///{self._connector.settings.bind_dn or "anyone"}";)'
            )
        elif not persistent and anybody.entries and "entryuuid" not in anybody.entries[0][1]:
            self._doubt("who is renamed is not told; let the service account read entryUUID")

    def _doubt(self, text: str) -> None:
        """Say it once, however often the watch begins."""
        if text not in self.doubts:
            self.doubts.append(text)
            logger.warning("watch of %s: %s", self._server.text, text)

    async def _search(
        self, connection: WatchConnection, base: str, attributes: Sequence[str] = (), *, below: bool = False
    ) -> Answer:
        """Search for an entry, or for any one of the subtree below it.

        :raises DirectoryError: there was no answer.
        """
        scope, most = ("sub", 1) if below else ("base", 0)
        template = request.search_template(
            [base], ["(objectClass=*)"], scope=scope, attributes=attributes, size_limit=most
        )
        return await future(wait(connection.ask(template, [])))

    def _take(self, told: Change) -> None:
        self.changes += 1
        self._take_change(told)

    def _turn(self, *, watching: bool) -> None:
        if watching == self.watching:
            return
        self.watching = watching
        self._since = self._loop.time()
        if watching:
            logger.info("watch of %s: changes are told, by %s", self._server.text, self.how)
        else:
            self.losses += 1
            logger.info("watch of %s: lost: %s", self._server.text, self.error)
        self._turned(self._server.text)


def _only(answer: Answer) -> dict[str, list[bytes]]:
    """The attributes of the one entry that was asked for; empty where it may not be seen.

    :raises DirectoryRefused: the server refuses the search.
    """
    if answer.result.code not in (codes.SUCCESS, codes.NO_SUCH_OBJECT):
        raise refuse(answer, "search")
    return answer.entries[0][1] if answer.entries else {}


def _context(area: Area, contexts: Sequence[str]) -> str:
    """The naming context that holds an area; the area's own base where the server names none."""
    holding = [each for each in contexts if Area(each).holds(name_of(area.base.encode()))]
    return max(holding, key=len, default=area.base)


async def _first(*events: asyncio.Event, within: float | None = None) -> None:
    """Wait until one of the events is set, or so many seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
