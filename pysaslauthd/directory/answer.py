"""A server's whole answer to one request, who waits for it, and what a result code says of the server."""

from __future__ import annotations

from typing import NamedTuple

from pysaslauthd.config import ServerUri
from pysaslauthd.directory.interface import Bound, Found
from pysaslauthd.errors import DirectoryRefused
from pysaslauthd.flow import Reply
from pysaslauthd.wire.ldap import codes, response
from pysaslauthd.wire.ldap.response import Response, Result, SearchEntry

TRANSIENT = frozenset({codes.BUSY, codes.UNAVAILABLE})
"""Another server may do better."""


class Answer(NamedTuple):
    """All that came for one request, and from whom.

    ``entries`` are a search's. Each of its ``references`` is one search result reference:
    URIs of which any one will do (RFC 4511 section 4.5.3).
    """

    server: ServerUri
    result: Result
    controls: dict[str, bytes]
    entries: list[SearchEntry]
    references: list[tuple[str, ...]]
    extended_value: bytes


class Operation(Reply[Answer]):
    """A request that waits for its answer. ``asked`` is when, as the event loop's clock tells time."""

    __slots__ = ("asked", "entries", "references")

    def __init__(self, asked: float) -> None:
        # What Reply's own does, without a call.
        self._done = False
        self._value = None
        self._error = None
        self._waiting = None
        self.asked = asked
        self.entries: list[SearchEntry] = []
        self.references: list[tuple[str, ...]] = []

    def answer(self, server: ServerUri, last: Response, result: Result) -> Answer:
        """The whole answer, of which a message is the last.

        :raises ProtocolError: the message is malformed.
        """
        held = response.controls(last) if last.controls else response.NO_CONTROLS
        value = response.extended_value(last) if last.operation == response.EXTENDED_RESPONSE else b""
        # Not Answer(…), which is a call of Python.
        return tuple.__new__(Answer, (server, result, held, self.entries, self.references, value))


def found_by(answer: Answer, *, missing_base: bool) -> Found:
    """What a search has found.

    :param missing_base: whether its base may be missing.
    :raises DirectoryRefused: it was not done.
    """
    code = answer.result.code
    if code in (codes.SUCCESS, codes.SIZE_LIMIT_EXCEEDED):
        # Not Found(…), which is a call of Python.
        return tuple.__new__(Found, (answer.entries, code != codes.SUCCESS, len(answer.references)))
    if missing_base and code in (codes.NO_SUCH_OBJECT, codes.INVALID_DN_SYNTAX):
        return Found([])
    raise refuse(answer, "search")


def bound(answer: Answer) -> Bound:
    """What became of a bind."""
    code, message, _ = answer.result
    # Not Bound(…), likewise.
    return tuple.__new__(Bound, (code, message, answer.controls, answer.server.text, answer.extended_value))


def refuse(answer: Answer, doing: str) -> DirectoryRefused:
    """The error for a result that says nothing about the user."""
    code, message, referrals = answer.result
    if referrals:
        message = f"{message} referral to {' '.join(referrals)}".strip()
    return DirectoryRefused(code, f"{answer.server.text}: {doing}: {codes.told(code, message)}")
