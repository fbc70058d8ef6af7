"""The directory behind ``ldap_servers``: which server is asked, what is asked again, what a result means."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import Answer, refuse
from pysaslauthd.directory.gate import Gate
from pysaslauthd.directory.interface import Bound, Entry, Found, Query
from pysaslauthd.directory.server import SEARCH_CONNECTIONS, Server
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryError
from pysaslauthd.flow import Reply
from pysaslauthd.model import Identity
from pysaslauthd.wire.ldap import request, response
from pysaslauthd.wire.ldap.request import Control, RequestTemplate

T = TypeVar("T")

MAX_SEARCHES = 90 * SEARCH_CONNECTIONS
"""Searches in flight at most. OpenLDAP ends an anonymous session with more than 100 pending."""

SUCCESS = 0
SIZE_LIMIT_EXCEEDED = 4
COMPARE_FALSE = 5
COMPARE_TRUE = 6
NO_SUCH_ATTRIBUTE = 16
UNDEFINED_ATTRIBUTE_TYPE = 17
NO_SUCH_OBJECT = 32
INVALID_DN_SYNTAX = 34
BUSY = 51
UNAVAILABLE = 52

Ask = Callable[[Server], Coroutine[Reply[Any], Any, T]]


class Servers:
    """A :class:`~pysaslauthd.directory.interface.Directory` of LDAP servers.

    :param timeout: seconds that a server may take for one answer.
    :param binds: user binds under way at once at most; 0 sets no bound (saslauthd's ``-n``).
    :raises ConfigError: the TLS files cannot be used.
    """

    def __init__(self, settings: LdapSettings, *, timeout: float, binds: int = 5) -> None:
        connector = Connector.of(settings, timeout)
        self._servers = [Server(uri, connector, binds) for uri in settings.servers]
        self._attempts = 2 if settings.restart else 1
        self._searching = Gate(MAX_SEARCHES)
        self._binding = Gate(binds)
        controls = [Control(request.PASSWORD_POLICY)] if settings.version == 3 else []
        self._simple_bind = request.simple_bind_template(settings.version, controls)
        self._queries: dict[Query, RequestTemplate] = {}
        self._compares: dict[str, RequestTemplate] = {}

    # -- what a mechanism asks

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """See the interface. The base's values are escaped as DN values, the filter's need no escape."""
        template = self._queries.get(query) or self._prepare(query)
        values = query.base.escaped_values(identity, dn) + query.filter.values(identity, dn)

        async def ask(server: Server) -> Answer:
            connection = server.searcher() or await server.connected()
            return _usable(await connection.ask(template, values), "search")

        await self._searching.enter()
        try:
            answer = await self._ask(ask)
        except ValueError:  # the values make no request, so nobody can be meant
            return Found([])
        finally:
            self._searching.leave()
        code = answer.result.code
        if code in (SUCCESS, SIZE_LIMIT_EXCEEDED):
            return Found([Entry(*found) for found in answer.entries], code != SUCCESS, len(answer.references))
        if code == NO_SUCH_OBJECT or (code == INVALID_DN_SYNTAX and query.base.tokens):
            return Found([])
        raise refuse(answer, "search")

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """See the interface."""
        template = self._compares.get(attribute)
        if template is None:
            template = self._compares[attribute] = request.compare_template(attribute)

        async def ask(server: Server) -> Answer:
            connection = server.searcher() or await server.connected()
            return _usable(await connection.ask(template, [dn, value]), "compare")

        await self._searching.enter()
        try:
            answer = await self._ask(ask)
        finally:
            self._searching.leave()
        code = answer.result.code
        if code in (COMPARE_TRUE, COMPARE_FALSE, NO_SUCH_ATTRIBUTE, UNDEFINED_ATTRIBUTE_TYPE, NO_SUCH_OBJECT):
            return code == COMPARE_TRUE
        raise refuse(answer, "compare")

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        """See the interface. The request carries the password policy control."""

        async def ask(server: Server) -> Bound:
            connection = await server.binder()
            try:
                answer = await connection.ask(self._simple_bind, [dn, password])
            finally:
                server.release(connection)
            return _bound(answer, server)

        return await self._bind(ask)

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        """See the interface."""
        credentials = b"\0".join([b"", authcid, password])

        async def ask(server: Server) -> Bound:
            connection = await server.binder()
            try:
                answer = await connection.ask_once(lambda number: request.sasl_bind(number, "PLAIN", credentials))
                bound = _bound(answer, server)
                if bound.code == SUCCESS:
                    who = await connection.ask_once(lambda number: request.extended(number, request.WHO_AM_I))
                    if who.result.code == SUCCESS:
                        bound = bound._replace(authzid=response.extended_value(who.response))
            finally:
                server.release(connection)
            return bound

        return await self._bind(ask)

    async def _bind(self, ask: Ask[Bound]) -> Bound:
        await self._binding.enter()
        try:
            return await self._ask(ask)
        finally:
            self._binding.leave()

    # -- whom to ask

    async def _ask(self, ask: Ask[T]) -> T:
        """Ask the first server that answers; once more where the connection broke under the request."""
        failure: DirectoryError = DirectoryDown("no directory server")
        for server in self._in_order():
            for attempt in range(self._attempts):
                if attempt and server.up is False:  # found to be hung or down meanwhile
                    break
                try:
                    return await ask(server)
                except ConnectionLost as error:
                    failure = error
                except DirectoryError as error:
                    failure = error
                    break
            server.failed(failure)
        raise failure

    def _in_order(self) -> list[Server]:
        """Servers in the order of the configuration; those known to be down last, when nothing else is left."""
        servers = self._servers
        if len(servers) == 1 or servers[0].up:
            return servers
        return sorted(servers, key=lambda server: server.up is False)

    # -- life

    def start(self) -> None:
        """Begin to connect to the first server."""
        self._servers[0].connect()

    async def stop(self) -> None:
        """Close every connection (an asyncio coroutine)."""
        for server in self._servers:
            await server.stop()

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
        )
        self._queries[query] = template
        return template


def _bound(answer: Answer, server: Server) -> Bound:
    result = _usable(answer, "bind").result
    if result.referrals:  # a password never goes to another host
        raise refuse(answer, "bind")
    return Bound(result.code, result.message, response.controls(answer.response), server.uri.text)


def _usable(answer: Answer, doing: str) -> Answer:
    """The answer, unless another server should be asked."""
    if answer.result.code in (BUSY, UNAVAILABLE):
        raise refuse(answer, doing)
    return answer
