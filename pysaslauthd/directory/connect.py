"""Making a connection: TCP or UNIX socket, TLS, and the service account's bind. Plain asyncio, not hot."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from pysaslauthd.config import LdapSettings, ServerUri, client_context
from pysaslauthd.directory.connection import Answer, LdapConnection, refuse
from pysaslauthd.errors import DirectoryDown, DirectoryError, DirectoryRefused, ServiceBindRefused
from pysaslauthd.flow import Reply, future
from pysaslauthd.wire.ldap import request
from pysaslauthd.wire.ldap.request import RequestTemplate

KEEPALIVE_SECONDS = 30
"""A connection idle for this long is probed by the kernel, every 10 s, three times: a half-open one is
noticed within a minute."""


async def _wait(reply: Reply[Answer]) -> Answer:
    return await reply


@dataclass(frozen=True)
class Connector:
    """How to connect to a server: the time-outs, TLS and the service account of the configuration.

    :param timeout: seconds for each answer later on; connecting has ``ldap_connect_timeout`` in all.
    """

    settings: LdapSettings
    timeout: float
    tls: ssl.SSLContext | None
    service_bind: RequestTemplate

    @classmethod
    def of(cls, settings: LdapSettings, timeout: float) -> Connector:
        """From the configuration.

        :raises ConfigError: the TLS files cannot be used.
        """
        context = client_context(settings) if settings.uses_tls else None
        return cls(settings, timeout, context, request.simple_bind_template(settings.version))

    async def connect(
        self, server: ServerUri, on_lost: Callable[[LdapConnection], None], *, as_service: bool
    ) -> LdapConnection:
        """A connection, bound as the service account if ``as_service``.

        :raises DirectoryDown: no connection, no TLS, or none in time; the text says which and what to do.
        :raises ServiceBindRefused: the service account was refused.
        """
        limit = self.settings.connect_timeout
        connection = LdapConnection(server.text, self.timeout, on_lost)
        ready = False
        try:
            async with asyncio.timeout(limit):
                await self._open(server, connection)
                if as_service:
                    await self._bind(connection)
            ready = True
        except ServiceBindRefused:
            raise
        except TimeoutError as error:
            raise DirectoryDown(f"{server.text}: not connected within {limit:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise DirectoryDown(
                f"{server.text}: its certificate is not trusted: {error.verify_message} "
                "(ldap_tls_cacert_file names the CA's certificate)"
            ) from error
        except (OSError, DirectoryError) as error:
            raise DirectoryDown(f"{server.text}: {_text(error)}") from error
        finally:
            if not ready:
                connection.close()
        return connection

    async def _open(self, server: ServerUri, connection: LdapConnection) -> None:
        loop = asyncio.get_running_loop()
        if server.scheme == "ldapi":
            await loop.create_unix_connection(lambda: connection, server.path)
        else:
            secure = server.scheme == "ldaps"
            await loop.create_connection(
                lambda: connection,
                server.host,
                server.port,
                ssl=self.tls if secure else None,
                server_hostname=server.host if secure else None,
                happy_eyeballs_delay=0.25,
            )
            _keep_alive(connection)
        if self.settings.start_tls and server.scheme == "ldap":
            await self._start_tls(server, connection)

    async def _start_tls(self, server: ServerUri, connection: LdapConnection) -> None:
        loop = asyncio.get_running_loop()
        assert self.tls is not None  # noqa: S101 - made in of(), for start_tls
        answer = await future(_wait(connection.ask_once(lambda number: request.extended(number, request.START_TLS))))
        if answer.result.code:
            raise refuse(answer, "StartTLS")
        if connection.has_unread:  # octets that came before TLS could be anybody's (RFC 4511 section 4.14.1)
            raise DirectoryError("octets in the clear after the StartTLS response")
        secured = await loop.start_tls(connection.transport, connection, self.tls, server_hostname=server.host)
        if secured is None:
            raise DirectoryDown("the connection ended while TLS began")
        connection.connection_made(secured)

    async def _bind(self, connection: LdapConnection) -> None:
        settings = self.settings
        if settings.use_sasl:
            credentials = b""
            if settings.mech == "PLAIN":
                credentials = b"\0".join([settings.authz_id.encode(), settings.id.encode(), settings.password])
            elif settings.authz_id:
                credentials = settings.authz_id.encode()  # RFC 4422 appendix A
            reply = connection.ask_once(lambda number: request.sasl_bind(number, settings.mech, credentials))
            who = f"SASL {settings.mech} bind"
        elif settings.bind_dn and settings.password:
            reply = connection.ask(self.service_bind, [settings.bind_dn.encode(), settings.password])
            who = f"bind as {settings.bind_dn}"
        elif settings.version == 2:
            reply = connection.ask_once(lambda number: request.anonymous_bind(number, 2))
            who = "anonymous bind"
        else:
            return
        answer = await future(_wait(reply))
        if answer.result.code:
            refused: DirectoryRefused = refuse(answer, f"{connection.name}: {who}")
            raise ServiceBindRefused(refused.code, refused.message, f"{connection.name}: {who}")


def _keep_alive(connection: LdapConnection) -> None:
    found = connection.socket()
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return str(error) or type(error).__name__
