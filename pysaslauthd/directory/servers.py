"""The directory behind ``ldap_servers``: which server is asked, what is asked again, what a result means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import perf_counter

from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.answer import TRANSIENT, Answer, bound, found_by, refuse
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import LdapConnection
from pysaslauthd.directory.failover import Attempt, Failover
from pysaslauthd.directory.gate import Gate
from pysaslauthd.directory.interface import Bound, Found, Query, ServerState
from pysaslauthd.directory.referral import Referrals, Search
from pysaslauthd.directory.roster import Roster
from pysaslauthd.directory.server import Server
from pysaslauthd.errors import DirectoryError
from pysaslauthd.flow import Flow
from pysaslauthd.metrics import Operation
from pysaslauthd.model import Identity
from pysaslauthd.wire.ldap import codes, request
from pysaslauthd.wire.ldap.request import Control, RequestTemplate, UnencodableError

MAX_SEARCHES = 900
"""Searches and compares in flight at most: there may be one connection for them all, and OpenLDAP ends a session with
more than 1000 pending."""
MAX_ANONYMOUS_SEARCHES = 90
"""The same without a service account, where OpenLDAP's limit is 100."""
TRIED = 3
"""Servers that a login has time to ask one after the other, if all but the last hang."""
LEFT = 0.1
"""Share of the time that is no server's, so that the last one's silence is told before the deadline."""

_COMPARED = frozenset(
    {
        codes.SUCCESS,  # of 389 DS: not there, to an account that may not learn so; 50 where it may not compare
        codes.COMPARE_FALSE,
        codes.COMPARE_TRUE,
        codes.NO_SUCH_ATTRIBUTE,
        codes.UNDEFINED_ATTRIBUTE_TYPE,
        codes.NO_SUCH_OBJECT,
    }
)
Count = Callable[[Operation, float, bool], None]
"""Told of each operation: which, the seconds from what a login asked to what it got, failover and waiting included, and
whether there was a usable answer."""

_BOUND_ELSEWHERE = TRANSIENT | {codes.REFERRAL}  # a referral is not followed: a password never goes to another host


class Servers:
    """A :class:`~pysaslauthd.directory.interface.Directory` of LDAP servers.

    :param deadline: seconds within which a login must be answered. No answer and no connection of a server is waited
        for longer than lets the next ones, up to TRIED in all, be asked too.
    :param binds: user binds under way at once at most; 0 sets no bound (saslauthd's ``-n``).
    :param count: told of each operation that a mechanism asks for.
    :raises ConfigError: the TLS files cannot be used, or servers stand in DNS and dnspython is not installed.
    """

    def __init__(
        self, settings: LdapSettings, *, deadline: float, binds: int = 5, count: Count = lambda *_: None
    ) -> None:
        self._count = count
        share = deadline * (1 - LEFT) / min(TRIED, sum(2 if uri.domain else 1 for uri in settings.servers))
        settings = replace(settings, connect_timeout=min(settings.connect_timeout, share))
        connector = Connector.of(settings, min(settings.timeout, share))
        self._roster = Roster(settings, connector, binds)
        self._failover = Failover(self._roster, attempts=2 if settings.restart else 1)
        self._referrals = Referrals(self._roster.servers, connector) if settings.referrals else None
        # Past it a turn would come too late for an answer within the deadline, most likely.
        patience = deadline * 3 / 4
        named = settings.use_sasl or (settings.bind_dn and settings.password)
        searches = MAX_SEARCHES if named else MAX_ANONYMOUS_SEARCHES
        self._searching = Gate(searches, patience, lambda: self._roster.answering)
        self._binding = Gate(binds, patience, lambda: self._roster.answering)
        self._policy = [Control(request.PASSWORD_POLICY)] if settings.version == 3 else []
        self._simple_bind = request.simple_bind_template(settings.version, self._policy)
        self._queries: dict[Query, RequestTemplate] = {}
        self._compares: dict[str, RequestTemplate] = {}

    # -- what a mechanism asks

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """See the interface. The base's values are escaped as DN values, the filter's need no escape."""
        began, answered = perf_counter(), False
        try:
            template = self._queries.get(query) or self._prepare(query)
            base_values = query.base.escaped_values(identity, dn) if query.base.tokens else ()
            filter_values = query.filter.values(identity, dn)
            try:
                answer = await self._search(template, base_values + filter_values, "search")
                if self._referrals is not None and (answer.references or answer.result.code == codes.REFERRAL):
                    search = Search(query, query.base.fill(base_values), query.scope, filter_values)
                    answer = await self._referrals.follow(search, answer)
                found = found_by(answer, missing_base=bool(query.base.tokens))
            except UnencodableError:  # the values make no request, so nobody can be meant
                found = Found([])
            answered = True
            return found
        finally:
            self._count("search", perf_counter() - began, answered)

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """See the interface."""
        began, answered = perf_counter(), False
        try:
            template = self._compares.get(attribute)
            if template is None:
                template = self._compares[attribute] = request.compare_template(attribute)
            answer = await self._search(template, [dn, value], "compare")
            code = answer.result.code
            if code not in _COMPARED:
                raise refuse(answer, "compare")
            answered = True
            return code == codes.COMPARE_TRUE
        finally:
            self._count("compare", perf_counter() - began, answered)

    def bind(self, dn: bytes, password: bytes) -> Flow[Bound]:
        """See the interface. The request carries the password policy control."""
        # A bind as nobody proves nothing (RFC 4513 section 5.1.1).
        return self._bind(lambda connection: connection.ask(self._simple_bind, [dn, password])) if dn else _no_dn()

    def bind_plain(self, authcid: bytes, password: bytes) -> Flow[Bound]:
        """See the interface."""
        credentials = b"\0".join([b"", authcid, password])

        async def ask(connection: LdapConnection) -> Answer:
            answer = await connection.ask_once(
                lambda number: request.sasl_bind(number, "PLAIN", credentials, self._policy)
            )
            if answer.result.code != codes.SUCCESS:
                return answer
            who = await connection.ask_once(lambda number: request.extended(number, request.WHO_AM_I))
            return answer if who.result.code else answer._replace(extended_value=who.extended_value)

        return self._bind(ask)

    async def _search(self, template: RequestTemplate, values: Sequence[bytes], doing: str) -> Answer:
        """The answer to a search or compare, from a connection for searches of whichever server gives one."""
        made = None
        if not self._searching.passes():
            await self._searching.enter()
        try:
            server = self._roster.first
            connection = server.searcher() if server is not None else None
            if server is not None and connection is not None:
                # Nearly always: nothing must be waited for but the answer, and nothing else be asked then.
                try:
                    answer = await connection.ask(template, values)
                    if answer.result.code not in TRANSIENT:
                        return answer
                    made = Attempt(server, answer)
                except DirectoryError as error:
                    made = Attempt(server, error)

            async def ask(server: Server) -> Answer:
                return await (server.searcher() or await server.connected()).ask(template, values)

            return await self._failover.answer(ask, TRANSIENT, doing, made)
        finally:
            self._searching.leave()

    async def _bind(self, ask: Callable[[LdapConnection], Awaitable[Answer]]) -> Bound:
        async def ask_alone(server: Server) -> Answer:
            connection = server.idle_binder() or await server.binder()
            try:
                answer = await ask(connection)
            except BaseException:  # a bind cannot be abandoned (RFC 4511 section 4.11): nobody may wait behind it
                connection.close()
                raise
            server.release(connection)
            return answer

        began, answered = perf_counter(), False
        try:
            if not self._binding.passes():
                await self._binding.enter()
            try:
                first, made = self._roster.first, None
                if first is not None:
                    try:
                        answer = await ask_alone(first)
                        if answer.result.code not in _BOUND_ELSEWHERE:
                            answered = True
                            return bound(answer)
                        made = Attempt(first, answer)
                    except DirectoryError as error:
                        made = Attempt(first, error)
                answer = await self._failover.answer(ask_alone, _BOUND_ELSEWHERE, "bind", made)
                answered = True
                return bound(answer)
            finally:
                self._binding.leave()
        finally:
            self._count("bind", perf_counter() - began, answered)

    # -- life

    @property
    def failovers(self) -> int:
        """Operations that were asked of another server than the first."""
        return self._failover.failovers

    def states(self) -> list[ServerState]:
        """How each server is, in the order of the configuration."""
        return self._roster.states()

    def start(self) -> None:
        """Begin to connect to the first server."""
        self._roster.start()

    async def stop(self) -> None:
        """Close every connection (an asyncio coroutine)."""
        if self._referrals is not None:
            await self._referrals.stop()
        await self._roster.stop()

    def prepare(self, query: Query) -> None:
        """Check that a query can be asked.

        :raises ValueError: its filter is not valid.
        """
        self._prepare(query)

    def _prepare(self, query: Query) -> RequestTemplate:
        template = request.search_template(
            query.base.literals,
            query.filter.literals,
            scope=query.scope,
            attributes=query.attributes,
            deref=query.deref,
            size_limit=query.size_limit,
            time_limit=query.time_limit,
            controls=query.controls,
        )
        self._queries[query] = template
        return template


async def _no_dn() -> Bound:
    return Bound(codes.INVALID_DN_SYNTAX, "no DN")
