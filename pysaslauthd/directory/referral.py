"""Following referrals of searches to other servers (``ldap_referrals: yes``). Plain asyncio, not hot.

A server that the configuration does not name is asked as nobody: neither password nor client certificate goes
there. A referral never leads from a connection that cannot be read on the way to one that can. Binds are not
followed at all: a password stays with the servers it was meant for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from pysaslauthd.config import ServerUri
from pysaslauthd.config.uri import server_of
from pysaslauthd.directory.answer import TRANSIENT, Answer, refuse
from pysaslauthd.directory.connect import Connector, wait
from pysaslauthd.directory.connection import Pulse
from pysaslauthd.directory.interface import Query
from pysaslauthd.directory.server import Server
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryRefused, DirectoryTimeout
from pysaslauthd.flow import from_future, future
from pysaslauthd.wire.ldap import codes, request
from pysaslauthd.wire.ldap.request import RequestTemplate

logger = logging.getLogger(__name__)

MAX_HOPS = 3
"""Servers in a row that may each refer to the next; beyond, it is more likely a circle."""
MAX_FOLLOWED = 10
"""Requests sent for the referrals of one search at most."""

_SCOPES = {"": "", "base": "base", "one": "one", "sub": "sub"}


class Target(NamedTuple):
    """Where a referral leads: base and scope are empty where they stay as they were."""

    server: ServerUri
    base: bytes
    scope: str


class Search(NamedTuple):
    """A search with its values filled in."""

    query: Query
    base: bytes
    scope: str
    filter_values: Sequence[bytes]


class _NotFollowedError(DirectoryError):
    """A rule forbids it; the text says which."""


def target_of(uri: str) -> Target:
    """A referral's URI (RFC 4511 section 4.1.10, RFC 4516) to what it asks for.

    :raises ValueError: it is malformed, or asks for what is not done; the reason, without the URI.
    """
    scheme, _, rest = uri.partition("://")
    if scheme.lower() not in ("ldap", "ldaps"):
        raise ValueError("neither ldap nor ldaps")
    authority, _, rest = rest.partition("/")
    if not authority or authority.startswith(":"):
        raise ValueError("names no host")
    dn, _attributes, scope, filter_, extensions, *_ = [*rest.split("?"), "", "", "", ""]
    if filter_:
        raise ValueError("has a filter of its own")
    if "!" in extensions:
        raise ValueError("has a critical extension")
    if scope.lower() not in _SCOPES:
        raise ValueError("has an unknown scope")
    return Target(server_of(f"{scheme}://{authority}"), unquote_to_bytes(dn), scope.lower())


class Referrals:
    """Follows the referrals of one configuration.

    :param servers: those that the configuration names; the list may change.
    :raises ConfigError: the TLS files cannot be used.
    """

    def __init__(self, servers: Sequence[Server], connector: Connector) -> None:
        self._servers = servers
        self._connector = connector.anonymous()
        self._templates: dict[tuple[Query, str], RequestTemplate] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def follow(self, search: Search, answer: Answer) -> Answer:
        """A search's answer with what its referrals lead to; ``references`` are those not followed. A flow.

        :raises DirectoryError: a server that had to be asked gave no usable answer, or a referral that is all of
            the answer is not followed.
        """
        task = asyncio.get_running_loop().create_task(_Pursuit(self).within(self._connector.timeout, search, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await from_future(task)
        except asyncio.CancelledError:
            raise DirectoryDown(f"{answer.server.text}: stopping") from None

    async def stop(self) -> None:
        """End what is under way (an asyncio coroutine)."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def check(self, target: Target, referring: ServerUri) -> None:
        """Whether the configuration lets ``referring`` send a search there.

        :raises ValueError: it does not; the reason.
        """
        encrypts = self._connector.settings.encrypts
        if encrypts(referring) and not encrypts(target.server):
            raise ValueError("would leave the protection of TLS")

    async def ask(self, server: ServerUri, search: Search) -> Answer:
        """Send a search to a server: as the service account to one of the configuration, as nobody to others."""
        key = search.query, search.scope
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = _template(search)
        values = [search.base, *search.filter_values]
        known = next((each for each in self._servers if _address(each.uri) == _address(server)), None)
        if known is not None:
            return await future(_ask(known, template, values))
        connection = await self._connector.connect(server, lambda _: None, Pulse(), as_service=True)
        try:
            return await future(wait(connection.ask(template, values)))
        finally:
            connection.close()


class _Pursuit:
    """The referrals of one search."""

    def __init__(self, referrals: Referrals) -> None:
        self._referrals = referrals
        self._asked = 0

    async def within(self, seconds: float, search: Search, answer: Answer) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._complete(search, answer, 0)
        except TimeoutError:
            late = f"{answer.server.text}: its referrals were not followed within {seconds:g} s"
            raise DirectoryTimeout(late, silent=False) from None
        except _NotFollowedError as error:
            result = codes.told(codes.REFERRAL, f"not followed: {error}")
            raise DirectoryRefused(codes.REFERRAL, f"{answer.server.text}: search: {result}") from None

    async def _complete(self, search: Search, answer: Answer, hops: int) -> Answer:
        """An answer, with the answers to its referrals in their place."""
        if answer.result.code == codes.REFERRAL:
            return await self._follow(search, answer.server, answer.result.referrals, hops)
        entries, left, result = [*answer.entries], [], answer.result
        for uris in answer.references:
            try:
                found = await self._follow(search, answer.server, uris, hops)
            except _NotFollowedError as error:
                logger.info("%s: reference not followed: %s", answer.server.text, error)
                left.append(uris)
                continue
            if found.result.code == codes.SIZE_LIMIT_EXCEEDED:
                result = found.result
            elif found.result.code != codes.SUCCESS:
                raise refuse(found, "search")
            entries += found.entries
            left += found.references
        return answer._replace(result=result, entries=entries, references=left)

    async def _follow(self, search: Search, referring: ServerUri, uris: Sequence[str], hops: int) -> Answer:
        """The answer of the first server that gives one: the URIs are alternatives."""
        if hops == MAX_HOPS:
            raise _NotFollowedError(f"more than {MAX_HOPS} servers in a row refer to the next")
        failure: DirectoryError | None = None
        reasons = []
        for uri in uris:
            if self._asked == MAX_FOLLOWED:
                raise _NotFollowedError(f"{MAX_FOLLOWED} referrals were followed already")
            try:
                target = target_of(uri)
                self._referrals.check(target, referring)
            except ValueError as error:
                reasons.append(f"{uri} {error}")
                continue
            self._asked += 1
            there = search._replace(base=target.base or search.base, scope=target.scope or search.scope)
            try:
                answer = await self._referrals.ask(target.server, there)
                if answer.result.code not in TRANSIENT:
                    return await self._complete(there, answer, hops + 1)
                failure = refuse(answer, "search")
            except _NotFollowedError:
                raise
            except DirectoryError as error:
                failure = error
        raise failure or _NotFollowedError("; ".join(reasons))


def _address(server: ServerUri) -> tuple[str, str, int]:
    return server.scheme, server.host.lower(), server.port


async def _ask(server: Server, template: RequestTemplate, values: Sequence[bytes]) -> Answer:
    connection = server.searcher() or await server.connected()
    return await connection.ask(template, values)


def _template(search: Search) -> RequestTemplate:
    query = search.query
    return request.search_template(
        ("", ""),
        query.filter.literals,
        scope=search.scope,
        attributes=query.attributes,
        deref=query.deref,
        size_limit=query.size_limit,
        time_limit=query.time_limit,
        controls=query.controls,
    )
