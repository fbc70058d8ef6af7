"""The steps to one LDAP server, from its name to the service account's bind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

from pysaslauthd.config import AuthMethod, LdapSettings, ServerUri
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import Pulse
from pysaslauthd.directory.servers import Servers
from pysaslauthd.errors import ServiceBindRefused
from pysaslauthd.inspection import tls, watch
from pysaslauthd.inspection.questions import Questions
from pysaslauthd.inspection.step import Finding, Result, Stage, Step, take

GRACE = 1.0
"""Seconds that a step has more than what it waits for, so that its own words are heard first."""


async def walk(server: ServerUri, settings: LdapSettings, deadline: float) -> AsyncIterator[Step]:
    """Take all steps to a server.

    :param deadline: seconds within which a login must be answered: the most that a step may take.
    """
    alone = replace(
        settings,
        servers=(server,),
        connect_timeout=min(settings.connect_timeout, deadline),
        timeout=min(settings.timeout, deadline),
    )
    directory = Servers(alone, deadline=deadline)
    try:
        way = _Way(server, alone)
        stages = [*way.stages(deadline + GRACE), *Questions(alone, directory).stages(deadline + GRACE)]
        if settings.watch:
            look = partial(watch.look, server, alone, deadline)
            stages.append(Stage("watch", look, deadline + GRACE, advice="see the key ldap_watch"))
        async for step in take(server.text, stages):
            yield step
    finally:
        await directory.stop()


class _Way:
    """The way to a server."""

    def __init__(self, server: ServerUri, settings: LdapSettings) -> None:
        self._server = server
        self._settings = settings
        self._connector = Connector.of(settings, settings.timeout)
        self._addresses: list[tuple[Any, ...]] = []

    def stages(self, seconds: float) -> list[Stage]:
        limit = self._settings.connect_timeout
        bind = Stage("service bind", self._bind, seconds, needed=True)
        if self._server.scheme == "ldapi":
            return [Stage("socket", self._socket, limit, needed=True, advice="see ldap_servers"), bind]
        return [
            Stage("address", self._resolve, limit, needed=True, advice="mend ldap_servers, or the name service"),
            Stage("connect", self._connect, limit + GRACE, needed=True),
            Stage("TLS", self._tls, seconds, needed=True),
            bind,
        ]

    async def _resolve(self) -> Finding:
        server = self._server
        self._addresses = await _getaddrinfo(server.host, server.port)
        return Finding(Result.OK, ", ".join(_hosts(self._addresses)))

    async def _connect(self) -> Finding:
        tried = await asyncio.gather(*(self._reach(*info) for info in self._addresses))
        failed = {host: why for host, why in zip(_hosts(self._addresses), tried, strict=True) if why}
        reached = [host for host in _hosts(self._addresses) if host not in failed]
        text = ", ".join(f"{host}: {why}" for host, why in failed.items())
        port = f"port {self._server.port}"
        if not reached:
            return Finding(Result.ERROR, f"{port} of {text}", f"is the server running, and {port} open on the way?")
        if failed:
            return Finding(
                Result.WARNING, f"{port} of {', '.join(reached)}, but {text}", "mend the address that fails, or drop it"
            )
        return Finding(Result.OK, f"{port} of {', '.join(reached)}")

    async def _reach(self, family: int, kind: int, protocol: int, _: str, address: Any) -> str:
        """Connect to one address; empty, or why not."""
        limit = self._settings.connect_timeout
        with socket.socket(family, kind, protocol) as client:
            client.setblocking(False)
            try:
                async with asyncio.timeout(limit):
                    await asyncio.get_running_loop().sock_connect(client, address)
            except TimeoutError:
                return f"no answer within {limit:g} s"
            except OSError as error:
                return os.strerror(error.errno) if error.errno else str(error)
        return ""

    async def _socket(self) -> Finding:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, self._server.path)
        return Finding(Result.OK, self._server.path)

    async def _tls(self) -> Finding:
        if self._server.scheme == "ldap" and not self._settings.start_tls:
            return Finding(Result.SKIPPED, "ldap:// without ldap_start_tls: what is said is not encrypted")
        return await tls.look(self._server, self._settings, self._connector)

    async def _bind(self) -> Finding:
        settings = self._settings
        if settings.auth_method is AuthMethod.FASTBIND and not settings.checks_group and not settings.watch:
            return Finding(Result.SKIPPED, "fastbind without a group needs no service account")
        try:
            connection = await self._connector.connect(self._server, lambda _: None, Pulse(), as_service=True)
        except ServiceBindRefused as refused:
            account = "ldap_id" if settings.use_sasl else "ldap_bind_dn"
            text = str(refused).removeprefix(f"{self._server.text}: ")
            return Finding(Result.ERROR, text, f"mend {account} or its password")
        connection.close()
        if settings.use_sasl:
            return Finding(Result.OK, f"SASL {settings.mech}" + (f" as {settings.id}" if settings.id else ""))
        if settings.bind_dn and settings.password:
            return Finding(Result.OK, f"as {settings.bind_dn}")
        return Finding(Result.OK, "none: searches are anonymous")


def _hosts(addresses: list[tuple[Any, ...]]) -> list[str]:
    return [str(info[4][0]) for info in addresses]


async def _getaddrinfo(host: str, port: int) -> list[tuple[Any, ...]]:
    """As the loop's own, but given up in time: its threads are waited for at the end of the process."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

    def tell(addresses: list[tuple[Any, ...]] | None, error: OSError | None) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses or [])

    def ask() -> None:
        addresses, failure = None, None
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(str(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, addresses, failure)

    threading.Thread(target=ask, name="name service", daemon=True).start()
    return await found
