"""Directories around a directory: one that notes what is asked, one that takes the password for right."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from pysaslauthd import passwords
from pysaslauthd.directory.interface import Bound, Directory, Entry, Found, Query
from pysaslauthd.directory.template import escape_filter
from pysaslauthd.errors import DirectoryError, StoredPasswordError
from pysaslauthd.flow import Flow
from pysaslauthd.model import Identity
from pysaslauthd.wire.ldap import codes

T = TypeVar("T")


class Question(NamedTuple):
    """One question to a directory. Holds no password, and no value of an attribute.

    ``what`` is search, compare or bind, or password: the comparison with the stored ones. ``dn`` is a search's base,
    else the entry, or the login of a SASL bind; ``filter`` a search's filter as text, every value escaped; ``answer``
    one line for people. ``began`` and ``ended`` are seconds of :func:`time.perf_counter`.
    """

    what: str
    dn: bytes
    scope: str
    filter: bytes
    answer: str
    began: float
    ended: float

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began) * 1000


class ObservedDirectory:
    """Another :class:`~pysaslauthd.directory.interface.Directory`, with each question to it noted.

    ``user`` is the one entry that was found for the login, if it was; ``found_by`` the number of the question.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.user: Entry | None = None
        self.found_by = 0
        self._answered: list[Question] = []
        self._open: Question | None = None

    @property
    def questions(self) -> tuple[Question, ...]:
        """All so far, in order; the last one perhaps not answered yet."""
        pending = () if self._open is None else (self._open._replace(ended=time.perf_counter()),)
        return (*self._answered, *pending)

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """See the interface."""
        base = query.base.fill(query.base.escaped_values(identity, dn))
        filter_ = query.filter.expand(identity, escape_filter, dn)
        asked = self._directory.search(query, identity, dn)
        found = await self._note("search", base, asked, _counted, query.scope, filter_)
        if not dn and len(found.entries) == 1:
            self.user, self.found_by = found.entries[0], len(self._answered) - 1
        return found

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """See the interface."""
        asked = self._directory.compare(dn, attribute, value)
        return await self._note(
            "compare", dn, asked, lambda holds: f"{attribute} {'holds' if holds else 'does not hold'} the user"
        )

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        """See the interface."""
        return await self._note("bind", dn, self._directory.bind(dn, password), _told)

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        """See the interface."""
        return await self._note("bind", authcid, self._directory.bind_plain(authcid, password), _told)

    async def _note(
        self, what: str, dn: bytes, asked: Flow[T], tell: Callable[[T], str], scope: str = "", filter_: bytes = b""
    ) -> T:
        question = Question(what, dn, scope, filter_, "no answer yet", time.perf_counter(), 0.0)
        self._open = question
        answer = "none"
        try:
            value = await asked
            answer = tell(value)
        except DirectoryError as error:
            answer = str(error)
            raise
        finally:
            self._open = None
            self._answered.append(question._replace(answer=answer, ended=time.perf_counter()))
        return value


class AnyPassword:
    """Another directory that takes one password for everybody's, to see what would become of the right one.

    No bind is asked. Stored values that could be checked are given out as that password; what could not stays.

    :param attribute: the one that holds the stored passwords.
    :param max_ms: the longest check of a stored one, in milliseconds (ldap_hash_limit).
    """

    def __init__(self, directory: Directory, attribute: str, password: bytes, max_ms: float) -> None:
        self._directory = directory
        self._attribute = attribute.lower()
        self._password = password
        self._max_ms = max_ms

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """See the interface."""
        found = await self._directory.search(query, identity, dn)
        return found._replace(entries=[self._with_password(entry) for entry in found.entries])

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """See the interface."""
        return await self._directory.compare(dn, attribute, value)

    async def bind(self, dn: bytes, _: bytes) -> Bound:
        """Success."""
        return Bound(0)

    async def bind_plain(self, authcid: bytes, _: bytes) -> Bound:
        """Success, as nobody who is known."""
        return Bound(0)

    def _with_password(self, entry: Entry) -> Entry:
        stored = entry.attributes.get(self._attribute)
        if not stored:
            return entry
        values = [self._password if scheme_of(value, self._max_ms)[1] else value for value in stored]
        return entry._replace(attributes={**entry.attributes, self._attribute: values})


def scheme_of(stored: bytes, max_ms: float) -> tuple[str, bool]:
    """A stored value's scheme, and whether it could be checked in so many milliseconds."""
    try:
        return passwords.parse(stored, max_ms=max_ms).scheme, True
    except StoredPasswordError as error:
        return error.scheme, False


def _counted(found: Found) -> str:
    count = len(found.entries)
    text = {0: "nothing found", 1: "one entry"}.get(count, f"{count} entries")
    return text + (", and there are more" if found.size_limit_exceeded else "")


def _told(bound: Bound) -> str:
    return codes.told(bound.code, bound.message)
