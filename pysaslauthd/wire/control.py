"""The control socket's lines: a JSON object for a request, a JSON object for its reply (docs/reference/control.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pysaslauthd.errors import CommandError, ProtocolError

MAX_REQUEST = 65536
"""Bytes of a request with its newline: a flush of some 1,000 persons."""
MAX_REPLY = 1 << 20
"""Bytes of a reply with its newline: a status has under 100 kB, whatever its lists hold."""


class Request(NamedTuple):
    """What is to be done, and the members of the object beside ``command``."""

    command: str
    arguments: Mapping[str, Any]


def parse_request(line: bytes) -> Request:
    """The request in one line, with or without its newline.

    :raises CommandError: it is none.
    """
    try:
        members = _object(line)
    except ProtocolError as error:
        raise CommandError("bad-request", str(error)) from error
    command = members.pop("command", None)
    if not isinstance(command, str):
        raise CommandError("bad-request", 'a request has a member "command", as in {"command": "status"}')
    return Request(command, members)


def parse_reply(line: bytes) -> dict[str, Any]:
    """The reply in one line.

    :raises CommandError: the reply is that the command was not done.
    :raises ProtocolError: it is no reply.
    """
    members = _object(line)
    if "error" in members:
        raise CommandError(str(members["error"]), str(members.get("message", "")))
    return members


def encode(members: Mapping[str, Any]) -> bytes:
    """An object as a line, all ASCII."""
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def encode_request(command: str, arguments: Mapping[str, Any]) -> bytes:
    """A request as a line."""
    return encode({"command": command, **arguments})


def encode_error(error: CommandError) -> bytes:
    """What a client is told in place of a reply."""
    return encode({"error": error.kind, "message": error.message})


def text_of(value: bytes) -> str:
    """Bytes of a login as a JSON string; what is not UTF-8 becomes lone surrogates (PEP 383)."""
    return value.decode("utf-8", "surrogateescape")


def bytes_of(value: str) -> bytes:
    """The bytes again.

    :raises CommandError: the string holds a surrogate of another kind.
    """
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CommandError("bad-request", "a string that is not text") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        members = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not a JSON object in UTF-8 on one line") from error
    if not isinstance(members, dict):
        raise ProtocolError("not a JSON object")
    return members
