"""The LDAP servers of a domain, as its SRV records in DNS name them (RFC 2782). The resolver is dnspython's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pysaslauthd.config import ServerUri
from pysaslauthd.errors import ConfigError, DirectoryDown

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

MAX_SERVERS = 16
"""Servers of one domain that are used, the preferred ones: a login has no time to try more."""
LEAST_TTL = 60.0
"""Seconds that an answer counts at least, whatever DNS says of it."""


class Records(NamedTuple):
    """The servers in the order in which they are to be tried, and for how many seconds that holds."""

    servers: tuple[ServerUri, ...]
    seconds: float


class Lookup:
    """What a URI without a host stands for: ``ldap:///dc=hoge,dc=cxm`` for the records of ``_ldap._tcp.hoge.cxm``.

    :param resolver: None: one by /etc/resolv.conf, read anew each time.
    :raises ConfigError: dnspython is not installed.
    """

    def __init__(self, uri: ServerUri, resolver: Resolver | None = None) -> None:
        self.uri = uri
        self.name = f"_{uri.scheme}._tcp.{uri.domain}"
        self._resolver = resolver
        try:
            # An extra, and 50 ms and 6 MB that a site without it does not pay.
            import dns.asyncresolver  # noqa: F401, PLC0415 - see above
        except ImportError:
            raise ConfigError(
                f"{uri.text} names no host: its servers stand in DNS, and looking there needs dnspython;"
                " install pysaslauthd[srv], or name the servers",
                key="ldap_servers",
            ) from None

    async def servers(self, seconds: float) -> Records:
        """Ask DNS. Of equal priority, the weights and chance decide who comes first.

        :param seconds: that it may take.
        :raises DirectoryDown: there is no answer, or none with a server in it.
        """
        from dns.asyncresolver import Resolver  # noqa: PLC0415 - see above
        from dns.exception import DNSException  # noqa: PLC0415 - see above

        try:
            resolver = self._resolver or Resolver()
            answer = await resolver.resolve(self.name, "SRV", lifetime=seconds, search=False)
        except (DNSException, OSError) as error:
            raise DirectoryDown(f"{self.uri.text}: DNS, {self.name}: {_text(error)}") from error
        rrset = answer.rrset
        found: list[Any] = [] if rrset is None else rrset.processing_order()
        # A root for a target says that the domain has no such service.
        servers = [self._server(str(record.target).rstrip("."), record.port) for record in found]
        servers = [server for server in servers if server.host and server.port][:MAX_SERVERS]
        if not servers:
            raise DirectoryDown(f"{self.uri.text}: DNS, {self.name}: the domain has no such service")
        return Records(tuple(servers), max(LEAST_TTL, rrset.ttl if rrset is not None else 0.0))

    def _server(self, host: str, port: int) -> ServerUri:
        return ServerUri(self.uri.scheme, host, port, "", f"{self.uri.scheme}://{host}:{port}")


def _text(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
