"""The value of ldap_servers: URIs of LDAP servers (RFC 4516, ldapi as OpenLDAP writes it) or of one LDIF file."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Literal, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from pysaslauthd.config.keys import Kind, shown, text_of

Scheme = Literal["ldap", "ldaps", "ldapi", "ldif"]

LDAPI_PATH = "/var/run/slapd/ldapi"
"""The socket that ``ldapi:///`` means to Debian's libldap."""

_PORTS = {"ldap": 389, "ldaps": 636}
_LONGEST_SOCKET = 107
"""Bytes of sun_path that a path may fill on Linux: unix(7), 108 with the NUL."""

# libldap separates by blanks and commas; a comma inside a DN or a path is none where no scheme follows.
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(?:/(.*))?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([^\[\]]+)\]|([A-Za-z0-9._-]*))(?::([0-9]{1,5}))?")


class ServerUri(NamedTuple):
    """One server.

    ``host`` and ``port`` are set for ldap and ldaps (an IPv6 address without its brackets), ``path`` for
    ldapi (the socket) and ldif (the file). ``text`` is the URI as written, for logs. ``base`` is what
    followed the slash after the host, decoded; nothing uses it. ``domain`` is set where the URI names a DN and
    no host, and then these are not: its servers stand in DNS.
    """

    scheme: Scheme
    host: str
    port: int
    path: str
    text: str
    base: str = ""
    domain: str = ""

    @property
    def local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.domain:
            return False
        if not self.host or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _decoded(text: str) -> str:
    raw = unquote_to_bytes(text)
    if b"\0" in raw:
        raise ValueError(f"{shown(text)} holds a NUL byte")
    return os.fsdecode(raw)


def _host_and_port(authority: str, scheme: str, text: str) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError(f"{shown(text)}: {shown(authority)} is not host, host:port, [IPv6] or [IPv6]:port")
    address, name, digits = match.groups()
    host = name or "localhost"
    if address is not None:
        host = _decoded(address)
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{shown(text)}: {shown(host)} is not an IPv6 address") from None
    port = _PORTS[scheme] if digits is None else int(digits)
    if not 1 <= port <= 65535:
        raise ValueError(f"{shown(text)}: {port} is not a port")
    return host, port


# RFC 1123 section 2.1, and the underscore that DNS does not mind.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def _domain(dn: str, text: str) -> str:
    """The DNS domain that a DN is in (RFC 2247 section 3): ``ou=People,dc=hoge,dc=cxm`` is in hoge.cxm."""
    labels: list[str] = []
    for rdn in reversed(re.split(r"(?<!\\),", dn)):
        kind, _, value = rdn.partition("=")
        if kind.strip().lower() != "dc":
            break
        labels.insert(0, value.strip())
    if not labels or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{shown(text)} names no host, and no DN that ends in dc=…,dc=… to look its servers up by")
    return ".".join(labels)


def server_of(text: str) -> ServerUri:
    """One URI to its parts.

    :raises ValueError: it is no URI, or of no scheme that can be served.
    """
    match = _URI.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not a URI; write ldap://host/ or ldaps://host/")
    scheme, authority, rest = match[1].lower(), match[2], match[3] or ""
    if scheme in _PORTS:
        if rest and not authority:
            dn = _decoded(rest.partition("?")[0])
            return ServerUri(cast("Scheme", scheme), "", 0, "", text, dn, _domain(dn, text))
        host, port = _host_and_port(authority, scheme, text)
        return ServerUri(cast("Scheme", scheme), host, port, "", text, _decoded(rest))
    if scheme == "ldapi":
        path = _decoded(authority) or LDAPI_PATH
        if rest or not path.startswith("/"):
            raise ValueError(f"{shown(text)}: write the path of the socket with %2F for each slash, ldapi://%2Frun%2F…")
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise ValueError(f"{shown(text)}: the path of a socket has at most {_LONGEST_SOCKET} bytes")
        return ServerUri("ldapi", "", 0, path, text)
    if scheme == "ldif":
        if authority or not rest:
            raise ValueError(f"{shown(text)}: write ldif:///path/of/file.ldif")
        return ServerUri("ldif", "", 0, "/" + _decoded(rest), text)
    raise ValueError(f"{shown(text)}: {shown(scheme)} is none of ldap, ldaps, ldapi, ldif")


def _servers_of(value: bytes) -> tuple[ServerUri, ...]:
    servers = tuple(server_of(uri) for uri in _BETWEEN.split(text_of(value).strip(" \t,")))
    if len(servers) > 1 and any(server.scheme == "ldif" for server in servers):
        raise ValueError("an LDIF file stands alone; it cannot be mixed with other servers")
    return servers


SERVERS = Kind("URIs (ldap, ldaps, ldapi) separated by blanks or commas, or one ldif:///path", _servers_of)
