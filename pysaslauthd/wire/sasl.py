"""PLAIN and LOGIN, server side, without I/O.

:func:`begin` starts an exchange and returns a :data:`Step`. A :class:`Challenge` carries its own
continuation: call :attr:`Challenge.respond` with the client's response to get the next step. Nothing else
is kept between steps, so an abandoned exchange is simply forgotten.

PLAIN is RFC 4616. LOGIN was never standardised; its prompts are those of draft-murchison-sasl-login-00,
which every mail program knows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple


class Credentials(NamedTuple):
    """What the client gave, to be decided elsewhere; either may be empty. The repr hides the password."""

    login: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials(login={self.login!r})"


class Challenge(NamedTuple):
    """Bytes to send to the client (may be empty), and the function that takes its response."""

    data: bytes
    respond: Callable[[bytes], Step]


class Failure(NamedTuple):
    """The exchange is over without credentials; ``reason`` is for the log and holds nothing of the client's."""

    reason: str


Step = Challenge | Credentials | Failure


def begin(mechanism: bytes, initial: bytes | None) -> Step:
    """Start an exchange.

    :param mechanism: its name, in any case.
    :param initial: the initial response; None where the client sent none, which is not the same as an
        empty one (RFC 4422 section 4.3.2).
    """
    start = _MECHANISMS.get(mechanism.upper())
    return Failure("unsupported mechanism") if start is None else start(initial)


def _plain(initial: bytes | None) -> Step:
    return Challenge(b"", _plain_message) if initial is None else _plain_message(initial)


def _plain_message(message: bytes) -> Step:
    """``[authzid] NUL authcid NUL passwd`` (RFC 4616 section 2)."""
    if message.count(0) != 2:
        return Failure("a PLAIN message has exactly two NULs")
    authzid, authcid, password = message.split(b"\0")
    if authzid and authzid != authcid:
        return Failure("acting as another user is not offered")
    return Credentials(authcid, password)


def _login(initial: bytes | None) -> Step:
    # LOGIN defines no initial response. Programs that send one put the user name into it, and an empty
    # one comes from programs that cannot leave it out.
    return _login_name(initial) if initial else Challenge(b"Username:", _login_name)


def _login_name(name: bytes) -> Step:
    if 0 in name:
        return Failure("NUL in a LOGIN user name")
    return Challenge(b"Password:", partial(_login_password, name))


def _login_password(name: bytes, password: bytes) -> Step:
    if 0 in password:
        return Failure("NUL in a LOGIN password")
    return Credentials(name, password)


_MECHANISMS: dict[bytes, Callable[[bytes | None], Step]] = {b"PLAIN": _plain, b"LOGIN": _login}

MECHANISMS = tuple(_MECHANISMS)
"""Names of the mechanisms, as they are offered."""
