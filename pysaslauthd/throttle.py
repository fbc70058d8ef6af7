"""The brake on guessing: how long the answer to a wrong password waits.

Wrong passwords are counted for each user and for each client address. The first few are free; beyond, each next
one doubles the delay. A password that was wrong before counts no second time: a phone that still has the old one
is no attack. Nothing here ever holds up a right password, since only what has been refused gets here.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from pysaslauthd.fingerprint import fingerprints

FIRST_DELAY = 0.25
"""Seconds of the first delay; the fifth has reached 4."""
MAX_USERS = 5000
"""Users whose wrong passwords are remembered, some 350 bytes each; beyond, the least recently wrong is forgotten: who
wants that has to guess at so many others."""
MAX_ADDRESSES = 5000
"""The same of client addresses."""
MAX_KNOWN = 8
"""Wrong passwords of one user that count no second time: as many devices as may still have old ones."""

_MARK = 8
"""Bytes kept of a fingerprint. Two that agree by chance spare a guesser one count, and nothing else."""
_DOUBLINGS = 16
"""Beyond, the longest delay has long been reached."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = b"\0" * 10 + b"\xff\xff"
"""What an IPv4 address begins with as an IPv6 one (RFC 4291 section 2.5.5.2)."""
_HALF = 8
"""Bytes of an IPv6 address that count: whoever has one has the whole /64 (RFC 4291 section 2.5.4)."""


class Delay(NamedTuple):
    """What a refused login costs.

    ``seconds`` is 0 for no delay. ``user`` and ``address`` tell whether this very failure was the one from which on
    those of the user, and those from the address, are delayed.
    """

    seconds: float
    user: bool = False
    address: bool = False


class Delayed(NamedTuple):
    """Who is delayed: users by their names, client addresses, of IPv6 their networks."""

    users: list[bytes]
    addresses: list[str]


_NONE = Delay(0.0)


class _Failures:
    """Of a user or from an address. ``known`` holds the marks of the last wrong passwords, one behind the other;
    ``name`` is there once they are delayed.
    """

    __slots__ = ("count", "known", "name", "until")

    def __init__(self, until: float) -> None:
        self.count = 0
        self.known = b""
        self.name = b""
        self.until = until


class Throttle:
    """Counts refused logins.

    :param longest: seconds that a delay has at most.
    :param free: wrong passwords for one user without delay.
    :param free_per_address: wrong passwords from one address without delay.
    :param memory: seconds that they count: those for a user from the last one on, those from an address, behind
        which a whole office may be, from the first one on.
    :param trusted: addresses whose failures are neither counted nor delayed.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        longest: float = 3.0,
        free: int = 5,
        free_per_address: int = 20,
        memory: float = 600.0,
        trusted: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free = free
        self._free_per_address = free_per_address
        self._longest = longest
        self._trusted = trusted
        self._memory = memory
        self._clock = clock
        # Those that failed the longest time ago first.
        self._users: OrderedDict[bytes, _Failures] = OrderedDict()
        self._addresses: OrderedDict[bytes, _Failures] = OrderedDict()
        self._fingerprint = fingerprints()

    def failed(self, key: bytes, password: bytes, remote: bytes, name: bytes = b"") -> Delay:
        """Count a wrong password.

        :param key: whose; equal for one person however the login was typed.
        :param remote: the client's address as a door got it, ``192.0.2.7`` or ``192.0.2.7;4567``. Whatever is no
            address counts for the user alone.
        :param name: the user's, for :meth:`delayed`.
        """
        address = _packed(remote)
        if address and self._trusted and self._trusts(address):
            return _NONE
        now = self._clock()
        user = self._latest(self._users, MAX_USERS, key, now)
        user.until = now + self._memory
        mark = self._fingerprint(key, password)[:_MARK]
        new = mark not in user.known
        if new:
            user.known = (user.known + mark)[-MAX_KNOWN * _MARK :]
            user.count += 1
        if user.count >= self._free:
            user.name = name
        beyond = user.count - self._free
        beyond_address = self._count(address[:_HALF], new, now) - self._free_per_address if address else 0
        most = max(beyond, beyond_address)
        if most <= 0:
            return _NONE
        seconds = min(self._longest, FIRST_DELAY * 2.0 ** min(most - 1, _DOUBLINGS))
        return Delay(seconds, new and beyond == 1, new and beyond_address == 1)

    def succeeded(self, key: bytes) -> None:
        """Start a user's count anew. What is known to be wrong stays known.

        The address keeps its count: whoever has one mailbox could clear it at will.
        """
        user = self._users.get(key)
        if user is not None:
            user.count = 0

    def delayed(self) -> Delayed:
        """Whose next wrong password is delayed."""
        now = self._clock()
        users = [user.name for user in list(self._users.values()) if user.until > now and user.count >= self._free]
        places = [
            _text(place)
            for place, source in list(self._addresses.items())
            if source.until > now and source.count >= self._free_per_address
        ]
        return Delayed(users, places)

    def _count(self, place: bytes, new: bool, now: float) -> int:
        source = self._latest(self._addresses, MAX_ADDRESSES, place, now)
        source.count += new
        return source.count

    def _latest(self, table: OrderedDict[bytes, _Failures], most: int, key: bytes, now: float) -> _Failures:
        """Those of the key, which fails now; of the others those go that count no more, or are too many."""
        failures = table.get(key)
        if failures is None or failures.until <= now:
            failures = table[key] = _Failures(now + self._memory)
        table.move_to_end(key)
        while len(table) > most or next(iter(table.values())).until <= now:
            table.popitem(last=False)
        return failures

    def _trusts(self, address: bytes) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._trusted)


def _text(place: bytes) -> str:
    if len(place) == 4:
        return str(ipaddress.IPv4Address(place))
    return str(ipaddress.IPv6Network((place.ljust(16, b"\0"), 8 * _HALF)))


def _packed(remote: bytes) -> bytes:
    """The address in network byte order, 4 or 16 bytes; none for what is no address."""
    if remote:
        with suppress(ValueError, OSError):
            text = remote.partition(b";")[0].partition(b"%")[0].decode()
            if ":" not in text:
                return socket.inet_pton(socket.AF_INET, text)
            return socket.inet_pton(socket.AF_INET6, text).removeprefix(_MAPPED)
    return b""
