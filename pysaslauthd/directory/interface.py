"""What a mechanism may ask of a directory, be it LDAP servers or an LDIF file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pysaslauthd.directory.template import Template
from pysaslauthd.model import Identity
from pysaslauthd.wire.ldap.request import Control
from pysaslauthd.wire.ldap.response import NO_CONTROLS, SearchEntry

Entry = SearchEntry


class Found(NamedTuple):
    """The whole answer to a search.

    ``references`` counts the search continuation references (RFC 4511 section 4.5.3), which are not entries;
    ``size_limit_exceeded`` tells that there was more than the size limit let through (result 4).
    """

    entries: list[Entry]
    size_limit_exceeded: bool = False
    references: int = 0


class Bound(NamedTuple):
    """The answer to a bind: result code and diagnostic message (RFC 4511 section 4.1.9), control values by OID.

    ``authzid`` is who the server says is bound now (RFC 4532 "Who am I?"), where that was asked.
    """

    code: int
    message: str = ""
    controls: dict[str, bytes] = NO_CONTROLS
    server: str = ""
    authzid: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One search of the configuration, with slots for the values of a login. Compared and hashed by identity.

    ``size_limit`` in entries, ``time_limit`` in seconds, for the server; 0 is none (RFC 4511 section 4.5.1).
    """

    base: Template
    filter: Template
    scope: str
    """``base``, ``one`` or ``sub``."""
    attributes: tuple[str, ...]
    size_limit: int = 0
    time_limit: int = 0
    deref: str = "never"
    """``never``, ``search``, ``find`` or ``always``."""
    controls: tuple[Control, ...] = ()
    """Sent along; a directory that does not know them leaves them aside."""


class ServerState(NamedTuple):
    """How a server is, or a file.

    ``up`` is None until the first attempt to reach it. ``seconds`` is how long this has been so. ``error`` is the last
    failure, also one that is over; empty for none.
    """

    server: str
    up: bool | None
    seconds: float
    error: str = ""
    connections: int = 0
    in_flight: int = 0
    """Requests that wait for their answer."""
    failures: int = 0
    """How often it was found to be down or hung."""
    realm: str = ""
    """The realm whose own it is, of several the first; empty for the main file's."""


class Directory(Protocol):
    """A directory: answers searches, compares, and binds. Who makes one starts and stops it.

    The coroutines are flows (:mod:`pysaslauthd.flow`). Each raises a
    :class:`~pysaslauthd.errors.DirectoryError` where there is no usable answer.
    """

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        """Search as the service account; ``dn`` is the value of ``%D``. No such base: nothing found."""

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        """Whether the entry ``dn`` has that value, as the service account. No such entry or attribute: False."""

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        """A simple bind as the user, with a password that is not empty. Any result code is an answer."""

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        """A SASL PLAIN bind (RFC 4616) as the user, and who that is (``authzid``)."""
