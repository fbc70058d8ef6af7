"""A connection that a server tells of changes on: searches that do not end, beside requests that do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.areas import Area
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.directory.names import name_of, name_of_uuid
from pysaslauthd.errors import ProtocolError
from pysaslauthd.wire.ldap import change, codes, request, response
from pysaslauthd.wire.ldap.request import Control
from pysaslauthd.wire.ldap.response import Response

_SUBORDINATES = "hassubordinates"


class Change(NamedTuple):
    """What is told of a change: the names of entries that cached logins may hang on.

    ``below`` names entries below which all others have got another DN. ``unclear``: what else has changed, as the
    children of an entry with a new DN, cannot be told from it.
    """

    names: tuple[bytes, ...] = ()
    below: bytes = b""
    unclear: bool = False


class Dialect(Protocol):
    """One way in which servers tell of changes."""

    how: str
    """Its name, for people."""
    begun: asyncio.Event
    """Set by the server's word that all changes from now on are told, or from the start where it gives none."""

    def control(self) -> Control:
        """What to send with the search."""

    def attributes(self) -> Sequence[str]:
        """What to ask for of each entry."""

    def read(self, message: Response) -> Change | None:
        """The change that a message tells of; None: of none.

        :raises ProtocolError: it is malformed.
        """


class PersistentSearch:
    """As 389 DS does (draft-ietf-ldapext-psearch-03). It never says that it has begun."""

    how = "persistent search"

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.begun.set()

    def control(self) -> Control:
        """See the interface."""
        return change.persistent_search()

    def attributes(self) -> Sequence[str]:
        """See the interface."""
        return request.NO_ATTRIBUTES

    def read(self, message: Response) -> Change | None:
        """See the interface."""
        if message.operation != response.SEARCH_ENTRY:
            return None
        dn, _, controls = response.entry(message)
        told = change.entry_change(controls.get(change.ENTRY_CHANGE, b""))
        name = name_of(dn)
        if told.kind != change.RENAMED:
            return Change((name,))
        previous = name_of(told.previous_dn)
        return Change((name, previous), below=previous)


class Synchronisation:
    """As OpenLDAP's syncprov does (RFC 4533).

    Who is renamed is told under the new DN; the entryUUID stays the same. So is a branch, but not the entries in it.

    :param area: what is searched.
    :param cookie: what is known already.
    """

    how = "content synchronisation"

    def __init__(self, area: Area, cookie: bytes) -> None:
        self.begun = asyncio.Event()
        self._area = area
        self._base = name_of(area.base.encode())
        self._cookie = cookie

    def control(self) -> Control:
        """See the interface."""
        return change.sync_request(self._cookie)

    def attributes(self) -> Sequence[str]:
        """See the interface."""
        return (_SUBORDINATES,)

    def read(self, message: Response) -> Change | None:
        """See the interface."""
        if message.operation == change.INTERMEDIATE_RESPONSE:
            info = change.sync_info(message)
            if info.refreshed:
                self.begun.set()
            return Change(tuple(map(name_of_uuid, info.uuids))) if info.uuids else None
        if message.operation != response.SEARCH_ENTRY or not self.begun.is_set():
            return None
        dn, attributes, controls = response.entry(message)
        told = change.sync_state(controls.get(change.SYNC_STATE, b""))
        name = name_of(dn)
        names = (name, name_of_uuid(told.uuid))
        if told.state == change.SYNC_DELETE:  # with its new DN, where it was moved out of the area
            return Change(names, unclear=not self._area.holds(name))
        branch = attributes.get(_SUBORDINATES) == [b"TRUE"] and name != self._base
        return Change(names, unclear=branch)


class WatchConnection(LdapConnection):
    """A connection with searches that do not end.

    :param take: takes each change.
    """

    def __init__(
        self,
        server: ServerUri,
        timeout: float,
        on_lost: Callable[[LdapConnection], None],
        take: Callable[[Change], None],
    ) -> None:
        super().__init__(server, timeout, on_lost, Pulse())
        self._watches: dict[int, Dialect] = {}
        self._take_change = take
        self.why = ""
        """Why the connection is lost, once it is."""

    def watch(self, area: Area, dialect: Dialect) -> None:
        """Begin a search that does not end. No one answer is waited for."""
        template = request.search_template(
            [area.base],
            ["(objectClass=*)"],
            scope="sub",
            attributes=dialect.attributes(),
            controls=[dialect.control()],
        )
        message_id = self._next_id
        self._next_id += 1
        self._watches[message_id] = dialect
        self._write(template.encode(message_id, []))

    def _take(self, message: Response) -> None:
        dialect = self._watches.get(message.message_id)
        if dialect is None:
            super()._take(message)
        elif message.operation == response.SEARCH_DONE:
            code, text, _ = response.result(message)
            raise ProtocolError(f"the server ended the {dialect.how}: {codes.told(code, text)}")
        else:
            told = dialect.read(message)
            if told is not None:
                self._take_change(told)

    def _lose(self, why: str) -> None:
        self.why = self.why or why
        super()._lose(why)
