"""One connection of a client of Dovecot's auth protocol, without I/O, log or clock.

Feed a :class:`Session` with :meth:`Session.receive`, which returns events: bytes to send, logins to decide, the
end. Decide each :class:`Ask` and hand the outcome to :meth:`Session.answer`, in any order. Close the connection
as soon as :attr:`Session.closed` says so.

Each request gets exactly one final reply or sees the connection end, never both. Two kinds end without a word,
as the protocol has it: those that the client cancels before version 1.4, and those that it abandons half-way.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Literal, NamedTuple

from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason, Verdict, identify
from pysaslauthd.wire.dovecot import (
    MAX_LINE,
    Auth,
    Cancel,
    Cont,
    Cpid,
    Line,
    Version,
    bad_base64,
    can_be_told,
    cancelled,
    challenge,
    decode,
    final,
    greeting,
    no_such_request,
    parse,
    refusal,
)
from pysaslauthd.wire.sasl import Challenge, Failure, Step, begin

MAX_WAITING = 1024
"""Exchanges of one connection that wait for a CONT. Past it the oldest is forgotten: Postfix never cancels, so a
person who breaks off leaves one behind, and refusing a new one would punish the living for the abandoned."""
MAX_DECIDING = 1024
"""Logins of one connection that are being decided: what a mail server's thousand sessions can ask at once, and
16 MiB with the longest passwords. Past it a login is UNAVAILABLE."""
CONT_TIMEOUT = 150.0
"""Seconds that an exchange waits for its CONT: as long as Dovecot does, for mail programs may ask a person."""

Unavailable = Literal["auto", "close", "fail"]
"""How UNAVAILABLE is told: by ending the connection, by ``FAIL … code=temp_fail``, or (auto) by the end to
clients of minor version 0, because Postfix and Exim take every FAIL for a wrong password."""

_EMPTY_RESPONSE_MINOR = 2
_CANCELLED_MINOR = 4


class Send(NamedTuple):
    """Bytes to send at once. ``refused`` is for the log: why a request got no further; empty for no refusal."""

    data: bytes
    refused: str = ""


class Ask(NamedTuple):
    """A login to decide. ``id`` is the client's, and may come again once this request has its answer."""

    id: int
    request: AuthRequest
    name: bytes
    """Who it is about, for the reply."""


class Close(NamedTuple):
    """The client broke the protocol: nothing more is read or answered. ``reason`` is for the log."""

    reason: str


Event = Send | Ask | Close


class _Waiting(NamedTuple):
    until: float
    respond: Callable[[bytes], Step]
    auth: Auth


class Session:
    """One connection. ``default_realm`` may be changed; it holds for the requests that come then.

    :param pid: this server's process id, for SPID.
    :param cuid: 1 to 2**31 - 1, different for each connection: Exim up to 4.80 uses it as request id.
    :param cookie: 32 lower-case hexadecimal digits, not to be guessed; Dovecot's clients insist on it.
    :param peer: the process on the other side; goes into each request.
    :param default_realm: the domain of a login without one. With it a person has one name in every reply,
        ``user@domain``, which is what a mail server's tables of senders then need to list; without it the name is
        the login as it was given.
    """

    def __init__(
        self,
        *,
        pid: int,
        cuid: int,
        cookie: str,
        peer: Peer | None = None,
        unavailable: Unavailable = "auto",
        default_realm: bytes = b"",
    ) -> None:
        self.greeting = greeting(pid, cuid, cookie)
        """To be sent on accept: Exim up to 4.98 says nothing before it has read DONE."""
        self._peer = peer
        self._unavailable = unavailable
        self.default_realm = default_realm
        self._minor = -1  # until VERSION has come
        self._ready = False
        self._ending = False
        self._rest = b""
        self._waiting: dict[int, _Waiting] = {}  # in the order of their deadlines
        self._deciding: dict[int, Ask] = {}

    @property
    def closed(self) -> bool:
        """Whether the connection is to be closed now."""
        return self._ending and not self._deciding

    def drain(self) -> None:
        """Read no more, answer what is being decided, then be closed."""
        self._ending = True
        self._rest = b""
        self._waiting.clear()

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes of the client, in any pieces. A :class:`Close` comes last. Never raises.

        :param now: seconds of any steady clock, for :data:`CONT_TIMEOUT`.
        """
        events: list[Event] = []
        if not self._ending:
            self._forget_abandoned(now)
            try:
                self._read(data, now, events)
            except ProtocolError as error:
                self.drain()
                self._deciding.clear()
                events.append(Close(str(error)))
        return events

    def _read(self, data: bytes, now: float, events: list[Event]) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            _check_length(line)
            event = self._take(parse(line), now)
            if event is not None:
                events.append(event)
            if self._ending:
                return
        _check_length(self._rest)

    def answer(self, ask: Ask, outcome: Outcome) -> bytes:
        """The reply to a login of this session; empty where none is due (any more).

        UNAVAILABLE may :meth:`drain` the session in place of a reply: see :data:`Unavailable`.
        """
        if self._deciding.get(ask.id) is not ask:
            return b""
        del self._deciding[ask.id]
        if outcome.verdict is Verdict.UNAVAILABLE and self._closes_when_unavailable:
            self.drain()
            return b""
        return final(ask.id, ask.name, outcome.reason)

    @property
    def _closes_when_unavailable(self) -> bool:
        return self._unavailable == "close" or (self._unavailable == "auto" and self._minor == 0)

    def _forget_abandoned(self, now: float) -> None:
        while self._waiting:
            oldest = next(iter(self._waiting))
            if self._waiting[oldest].until > now:
                return
            del self._waiting[oldest]

    def _take(self, line: Line, now: float) -> Event | None:
        match line:
            case Auth() if self._ready:
                return self._auth(line, now)
            case Cont() if self._ready:
                return self._cont(line, now)
            case Cancel() if self._ready:
                return self._cancel(line)
            case Version() if self._minor < 0:
                self._minor = line.minor
                return None
            case Cpid() if self._minor >= 0 and not self._ready:
                self._ready = True
                return None
        raise ProtocolError(f"{type(line).__name__.upper()} out of place")

    def _auth(self, auth: Auth, now: float) -> Event:
        if auth.id in self._waiting or auth.id in self._deciding:
            raise ProtocolError("AUTH with the id of a pending request")
        try:
            initial = self._initial(auth.response)
        except binascii.Error:
            return Send(bad_base64(auth.id, "initial"), _named("invalid base64", auth))
        return self._proceed(auth, begin(auth.mechanism, initial), now)

    def _initial(self, response: bytes | None) -> bytes | None:
        if response == b"=":
            return b""
        if not response:
            # Exim always sends "resp=", and means that there is none.
            return None if response is None or self._minor < _EMPTY_RESPONSE_MINOR else b""
        return decode(response)

    def _cont(self, cont: Cont, now: float) -> Event:
        if self._deciding.pop(cont.id, None) is not None:
            return Send(refusal(cont.id), "CONT without a challenge")
        waiting = self._waiting.pop(cont.id, None)
        if waiting is None:
            return Send(no_such_request(cont.id), "CONT for an unknown or forgotten request")
        try:
            response = decode(cont.response)
        except binascii.Error:
            return Send(bad_base64(cont.id, "continued"), _named("invalid base64", waiting.auth))
        return self._proceed(waiting.auth, waiting.respond(response), now)

    def _proceed(self, auth: Auth, step: Step, now: float) -> Event:
        if isinstance(step, Failure):
            return Send(refusal(auth.id), _named(step.reason, auth))
        if isinstance(step, Challenge):
            if len(self._waiting) >= MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[auth.id] = _Waiting(now + CONT_TIMEOUT, step.respond, auth)
            return Send(challenge(auth.id, step.data))
        request = AuthRequest(
            step.login,
            step.password,
            auth.service,
            b"",
            auth.remote,
            "dovecot",
            self._peer,
            auth.local,
            auth.secured,
            auth.session,
        )
        name = identify(request, default_realm=self.default_realm).address if self.default_realm else step.login
        if not can_be_told(name):
            return Send(refusal(auth.id), _named("control characters in the login, or too long a login", auth))
        ask = Ask(auth.id, request, name)
        overloaded = len(self._deciding) >= MAX_DECIDING
        self._deciding[auth.id] = ask
        if overloaded:
            return Send(self.answer(ask, Outcome(Reason.OVERLOADED)), _named("too many logins at once", auth))
        return ask

    def _cancel(self, cancel: Cancel) -> Event | None:
        self._waiting.pop(cancel.id, None)
        self._deciding.pop(cancel.id, None)
        return Send(cancelled(cancel.id)) if self._minor >= _CANCELLED_MINOR else None


def _named(why: str, auth: Auth) -> str:
    return f"{why} (remote {auth.remote.decode()})" if auth.remote else why


def _check_length(line: bytes) -> None:
    if len(line) >= MAX_LINE:
        raise ProtocolError(f"a line of more than {MAX_LINE} bytes")
