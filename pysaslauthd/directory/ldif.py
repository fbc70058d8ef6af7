"""An LDIF file as a directory (``ldap_servers: ldif:///path/people.ldif``): for demos, tests and small sites.

The file is read whole, kept in memory, and read again when it changes. It is its own service account: who can
configure it can read it. It has no superior object classes, no aliases and no SASL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from pysaslauthd import passwords
from pysaslauthd.directory.interface import Bound, Entry, Found, Query, ServerState
from pysaslauthd.directory.ldif_file import LOOK_EVERY, LdifFile
from pysaslauthd.directory.match import Filter, compile_filter
from pysaslauthd.directory.rules import Dn, dn_of, rule_of
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryError, DirectoryRefused, StoredPasswordError
from pysaslauthd.flow import from_future
from pysaslauthd.model import Identity, Verdict
from pysaslauthd.wire.ldap import codes


class _Plan(NamedTuple):
    filter: Filter
    base: Dn | None
    """None where it has tokens."""
    attributes: tuple[str, ...] | None
    """None: all."""


class LdifDirectory:
    """An LDIF file that fulfils :class:`~pysaslauthd.directory.interface.Directory`.

    A file that vanishes or breaks later on leaves what was read before in force, and one warning.

    :param path: the file. It is read here and now.
    :param threads: where slow hashes are checked and the changed file is read.
    :param hash_limit: the longest check of a stored password to begin, in milliseconds by estimate (ldap_hash_limit).
    :param look_every: seconds between two looks at it.
    :raises ConfigError: the file is not LDIF, or no entry is in it; with the line.
    :raises StartError: it cannot be read.
    """

    def __init__(
        self, path: str, threads: Executor, *, hash_limit: float = passwords.MAX_MS, look_every: float = LOOK_EVERY
    ) -> None:
        self._threads = threads
        self._hash_limit = hash_limit
        self._file = LdifFile(path, threads, look_every=look_every)
        self._plans: dict[Query, _Plan] = {}

    def prepare(self, query: Query) -> None:
        """Make a query ready, so that what cannot be honoured shows before the first login.

        :raises ValueError: the filter or the base cannot be evaluated, or aliases are to be followed.
        """
        self._prepare(query)

    def _prepare(self, query: Query) -> _Plan:
        if query.deref != "never":
            raise ValueError("in an LDIF file no aliases are followed (ldap_deref)")
        try:
            filter_ = compile_filter(query.filter)
        except ValueError as error:
            raise ValueError(f"filter {_shown(query.filter)}: {error}") from error
        base = None
        if not query.base.tokens:
            try:
                base = dn_of(query.base.literals[0].encode())
            except ValueError as error:
                raise ValueError(f"search base {_shown(query.base)} is not a DN: {error}") from error
        names = tuple(name.lower() for name in query.attributes)
        # Makes the indexes that the filter wants, which takes its time with a big file.
        filter_(self._file.content, [b""] * len(query.filter.tokens))
        plan = self._plans[query] = _Plan(filter_, base, None if not names or "*" in names else names)
        return plan

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """The entries that match, in the file's order.

        :raises DirectoryError: the query cannot be honoured, see :meth:`prepare`.
        """
        plan, content = self._plans.get(query), self._file.content
        try:
            plan = plan or self._prepare(query)
        except ValueError as error:
            raise DirectoryError(str(error)) from error
        base = plan.base
        if base is None:
            try:
                base = dn_of(query.base.fill(query.base.escaped_values(identity, dn)))
            except ValueError:  # the values make no DN, so nobody can be meant
                return Found([])
        candidates, check = plan.filter(content, query.filter.values(identity, dn))
        if query.scope == "base":
            candidates = content.at(base)
        found = list[Entry]()
        for number in range(len(content.entries)) if candidates is None else sorted(candidates):
            if _in_scope(content.dns[number], base, query.scope) and check(number):
                if query.size_limit and len(found) == query.size_limit:
                    return Found(found, size_limit_exceeded=True)
                found.append(content.select(number, plan.attributes))
        return Found(found)

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """Whether an entry has a value, by the attribute's equality rule; a password's octets as they are stored."""
        attribute = attribute.lower()
        number = self._file.content.find(dn)
        return number is not None and number in self._file.content.index(attribute).get(rule_of(attribute)(value), ())

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        """Check a password against the entry's userPassword values, with the result codes of 389 DS.

        :raises DirectoryRefused: no value matched, and one could not be checked here (result 80).
        """
        if not password:
            return Bound(codes.UNWILLING_TO_PERFORM, "Unauthenticated binds are not allowed")
        content = self._file.content
        number = content.find(dn)
        if number is None:
            return Bound(codes.INVALID_CREDENTIALS)
        if any(value.lower() == b"true" for value in content.values(number, "nsaccountlock")):
            return Bound(codes.UNWILLING_TO_PERFORM, "Account inactivated. Contact system administrator.")
        unchecked: list[StoredPasswordError] = []
        for value in content.values(number, "userpassword"):
            try:
                stored = passwords.parse(value, max_ms=self._hash_limit)
            except StoredPasswordError as error:
                unchecked.append(error)
                continue
            if stored.slow:
                job = asyncio.get_running_loop().run_in_executor(self._threads, stored.verify, password)
                matched = await from_future(job)
            else:
                matched = stored.verify(password)
            if matched:
                return Bound(codes.SUCCESS)
        for failure in unchecked:
            if failure.reason.verdict is Verdict.UNAVAILABLE:
                raise DirectoryRefused(codes.OTHER, f"bind: {codes.told(codes.OTHER, str(failure))}")
        return Bound(codes.INVALID_CREDENTIALS, str(unchecked[0]) if unchecked else "")

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        """Always refused: which entry a SASL name means is a matter of a server's own configuration.

        :raises DirectoryRefused: result 7.
        """
        result = codes.told(codes.AUTH_METHOD_NOT_SUPPORTED, "an LDIF file has no SASL")
        raise DirectoryRefused(codes.AUTH_METHOD_NOT_SUPPORTED, f"SASL PLAIN bind: {result}")

    def states(self) -> list[ServerState]:
        """The file's state: up, with the content that was read last; ``error`` is why it could not be read since."""
        return [self._file.state()]

    def on_change(self, told: Callable[[], None]) -> None:
        """Call this from now on when the file has changed and what it holds is in force."""
        self._file.on_change(told)

    def start(self) -> None:
        """Begin to look whether the file changes. Needs the running event loop."""
        self._file.start()

    async def stop(self) -> None:
        """Look no more. Checks of passwords that are under way come to their end."""
        self._file.stop()


def _in_scope(dn: Dn, base: Dn, scope: str) -> bool:
    if scope == "one":
        return dn[1:] == base
    return scope == "base" or dn[len(dn) - len(base) :] == base


def _shown(template: Template) -> str:
    return template.fill([f"%{token}".encode() for token in template.tokens]).decode()
