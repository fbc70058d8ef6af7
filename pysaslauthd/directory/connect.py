"""Making a connection: TCP or UNIX socket, TLS, and the service account's bind. Plain asyncio, not hot."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from pysaslauthd.config import LdapSettings, ServerUri, client_context
from pysaslauthd.directory.answer import TRANSIENT, Answer, refuse
from pysaslauthd.directory.connection import LdapConnection, Pulse
from pysaslauthd.errors import ConnectionLost, DirectoryDown, DirectoryError, ServiceBindRefused
from pysaslauthd.flow import Reply, future
from pysaslauthd.wire.ldap import request
from pysaslauthd.wire.ldap.request import RequestTemplate
from pysaslauthd.wire.ldap.shape import Shapes

C = TypeVar("C", bound=LdapConnection)

KEEPALIVE_SECONDS = 30
"""A connection idle for this long is probed by the kernel: a half-open one is noticed within a minute."""
_PROBE_SECONDS = 10
_PROBES = 3
NEXT_ADDRESS_SECONDS = 0.25
"""How long one address of a host is tried before the next is tried beside it (RFC 8305 section 5)."""

# Verification results of OpenSSL, X509_V_ERR_... in x509_vfy.h.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})

# Where a host has several addresses, asyncio makes one text of what became of each.
_NUMBERS = re.compile(r"\[Errno (\d+)\]")


async def wait(reply: Reply[Answer]) -> Answer:
    """A reply as a flow."""
    return await reply


@dataclass(frozen=True)
class Connector:
    """How to connect to a server: the time-outs, TLS and the service account of the configuration.

    :param timeout: seconds for each answer later on; connecting has ``ldap_connect_timeout`` in all.
    """

    settings: LdapSettings
    timeout: float
    tls: ssl.SSLContext
    service_bind: RequestTemplate
    probe: RequestTemplate
    """A search for the root entry and nothing of it."""
    shapes: Shapes
    """Of the answers to searches."""

    @classmethod
    def of(cls, settings: LdapSettings, timeout: float) -> Connector:
        """From the configuration.

        :raises ConfigError: the TLS files cannot be used.
        """
        # Where nothing uses TLS: a context that trusts nobody, and costs nothing to make.
        context = client_context(settings) if settings.uses_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        probe = request.search_template([""], ["(objectClass=*)"], scope="base", attributes=[])
        return cls(settings, timeout, context, request.simple_bind_template(settings.version), probe, Shapes())

    def anonymous(self) -> Connector:
        """The same without anything that says or proves who asks: for servers that the configuration does not name.

        :raises ConfigError: the TLS files cannot be used.
        """
        settings = replace(self.settings, bind_dn="", password=b"", use_sasl=False, tls_cert="", tls_key="")
        return replace(self, settings=settings, tls=client_context(settings))

    async def connect(
        self, server: ServerUri, on_lost: Callable[[LdapConnection], None], pulse: Pulse, *, as_service: bool
    ) -> LdapConnection:
        """A connection, bound as the service account if ``as_service``.

        :raises DirectoryDown: no connection, no TLS, or none in time; the text says which and what to do.
        :raises ServiceBindRefused: the service account was refused.
        """
        return await self.open(LdapConnection(server, self.timeout, on_lost, pulse, self.shapes), as_service=as_service)

    async def open(self, connection: C, *, as_service: bool) -> C:
        """The same for a connection that has been made and not opened."""
        limit, server = self.settings.connect_timeout, connection.server
        ready = False
        try:
            async with asyncio.timeout(limit):
                await self._open(server, connection)
                if as_service:
                    await self._bind(connection)
            if connection.lost:
                raise ConnectionLost("the server closed the connection")
            ready = True
        except ServiceBindRefused:
            raise
        except TimeoutError as error:
            raise DirectoryDown(f"{server.text}: not connected within {limit:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise DirectoryDown(f"{server.text}: its certificate is not trusted: {_untrusted(error)}") from error
        except (OSError, ValueError, DirectoryError) as error:  # ValueError: a host name that DNS cannot hold
            text = _text(error)
            raise DirectoryDown(text if text.startswith(server.text) else f"{server.text}: {text}") from error
        finally:
            if not ready:
                connection.close()
        return connection

    async def _open(self, server: ServerUri, connection: LdapConnection) -> None:
        loop = asyncio.get_running_loop()
        if server.scheme == "ldapi":
            await loop.create_unix_connection(lambda: connection, server.path)
            return
        secure = server.scheme == "ldaps"
        # asyncio loses the socket when it is cancelled while it races addresses: race only where there may be several.
        racing = None if _is_address(server.host) else NEXT_ADDRESS_SECONDS
        await loop.create_connection(
            lambda: connection,
            server.host,
            server.port,
            ssl=self.tls if secure else None,
            server_hostname=server.host if secure else None,
            happy_eyeballs_delay=racing,
        )
        if not connection.lost:
            _keep_alive(connection.socket)
        if self.settings.start_tls and not secure:
            reply = connection.ask_once(lambda number: request.extended(number, request.START_TLS))
            answer = await future(wait(reply))
            if answer.result.code:
                raise refuse(answer, "StartTLS")
            await connection.start_tls(self.tls)

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
        answer = await future(wait(reply))
        if answer.result.code:
            refused = refuse(answer, who)
            if refused.code in TRANSIENT:
                raise refused
            raise ServiceBindRefused(refused.code, str(refused))


def _keep_alive(link: socket.socket) -> None:
    """Let the kernel probe a connection (tcp(7))."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"{error.verify_message} (ldap_tls_cacert_file names the certificate of the authority to trust)"
    if error.verify_code in _OTHER_NAME:
        return f"{error.verify_message} (ldap_servers must name the server as its certificate does)"
    return error.verify_message


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    if numbers := _NUMBERS.findall(str(error)):
        return ", ".join(dict.fromkeys(os.strerror(int(number)) for number in numbers))
    return str(error) or type(error).__name__


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
