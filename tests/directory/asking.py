"""What the tests of the directory ask, and whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pysaslauthd.config import LdapSettings, ServerUri
from pysaslauthd.config.uri import server_of
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.directory.interface import Entry, Found, Query
from pysaslauthd.directory.servers import LEFT, TRIED, Count, Servers
from pysaslauthd.directory.template import Template
from pysaslauthd.flow import future
from pysaslauthd.model import AuthRequest, Identity, identify
from rig import people
from rig.fake_ldap import FakeLdap

TIMEOUT = 0.3
"""Seconds that a server may take for an answer, where a test waits for a time-out."""
PATIENT = 30.0
"""The same where no time-out is expected."""


def uri(server: FakeLdap) -> ServerUri:
    return server_of(server.uri)


def settings(*servers: FakeLdap | str, **keys: Any) -> LdapSettings:
    uris = tuple(server_of(each if isinstance(each, str) else each.uri) for each in servers)
    account = {"bind_dn": people.SERVICE_DN, "password": people.SERVICE_PASSWORD.encode()}
    return LdapSettings(servers=uris, **{**account, **keys})


def query(base: str = people.PEOPLE, filter_: str = "(mail=%u)", scope: str = "sub", **more: Any) -> Query:
    return Query(Template.parse(base), Template.parse(filter_), scope, ("userPassword",), **more)


def who(login: str | bytes = people.PENGUIN) -> Identity:
    return identify(AuthRequest(login.encode() if isinstance(login, str) else login, b"x"))


PENGUIN_DN = people.PENGUIN_DN.encode()
PASSWORD = people.PENGUIN_PASSWORD.encode()
PENGUIN = Entry(PENGUIN_DN, {"userpassword": [PASSWORD]})
QUERY = query()


@asynccontextmanager
async def asking(
    *servers: FakeLdap | str,
    seconds: float = PATIENT,
    binds: int = 5,
    start: bool = False,
    count: Count = lambda *_: None,
    **keys: Any,
) -> AsyncIterator[Servers]:
    """The directory of some servers, stopped at the end."""
    # So that each server has so many seconds for an answer, however many servers there are.
    deadline = seconds * min(TRIED, len(servers)) / (1 - LEFT)
    directory = Servers(settings(*servers, **keys), deadline=deadline, binds=binds, count=count)
    if start:
        directory.start()
    try:
        yield directory
    finally:
        await directory.stop()


async def search(directory: Servers, login: str = people.PENGUIN) -> Found:
    return await future(directory.search(QUERY, who(login)))


@asynccontextmanager
async def connected(
    server: FakeLdap, seconds: float = PATIENT, *, as_service: bool = False, **keys: Any
) -> AsyncIterator[LdapConnection]:
    """One connection, closed at the end."""
    connector = Connector.of(settings(server, **keys), seconds)
    connection = await connector.connect(uri(server), lambda _: None, Pulse(), as_service=as_service)
    try:
        yield connection
    finally:
        connection.close()
