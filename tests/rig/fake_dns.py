"""A DNS server for tests, on the test's own event loop: answers for SRV records, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Srv = tuple[int, int, int, str]
"""Priority, weight, port, target."""


class FakeDns(asyncio.DatagramProtocol):
    """The server.

    :ivar records: by name in lower case, without a dot at its end; what is not there does not exist.
    :ivar silent: whether it answers nothing.
    :ivar asked: the names that were asked for.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[Srv]] = {}
        self.ttl = 300
        self.silent = False
        self.asked: list[str] = []
        self.came = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to serve (called by asyncio)."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer (called by asyncio)."""
        query = dns.message.from_wire(data)
        name = str(query.question[0].name).rstrip(".").lower()
        self.asked.append(name)
        self.came.set()
        if self.silent:
            return
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.records:
            texts = [f"{priority} {weight} {port} {target}." for priority, weight, port, target in self.records[name]]
            if texts:
                response.answer.append(dns.rrset.from_text(query.question[0].name, self.ttl, "IN", "SRV", *texts))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(response.to_wire(), addr)

    @property
    def resolver(self) -> dns.asyncresolver.Resolver:
        """One that asks this server."""
        assert self._transport is not None
        resolver = dns.asyncresolver.Resolver(configure=False)
        host, port = self._transport.get_extra_info("sockname")
        resolver.nameservers, resolver.port = [host], port
        return resolver

    def close(self) -> None:
        """End it."""
        assert self._transport is not None
        self._transport.close()


@asynccontextmanager
async def fake_dns(address: tuple[str, int] = ("127.0.0.1", 0), /, **records: list[Srv]) -> AsyncIterator[FakeDns]:
    """A running server; ``_ldap._tcp.hoge.cxm`` is ``ldap``, ``_ldaps._tcp.hoge.cxm`` is ``ldaps``."""
    _, server = await asyncio.get_running_loop().create_datagram_endpoint(FakeDns, address)
    server.records = {f"_{name}._tcp.hoge.cxm": found for name, found in records.items()}
    try:
        yield server
    finally:
        server.close()
