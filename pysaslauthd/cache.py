"""Accepted logins, remembered for a while: one entry per person, in memory only."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import TTLCache

from pysaslauthd.fingerprint import fingerprints


class Origin(NamedTuple):
    """Whose login an entry remembers."""

    address: bytes
    """``user@domain``, as :attr:`pysaslauthd.model.Identity.address` makes it."""
    dn: bytes
    """The directory's entry; empty where it is not known."""


class _Entry(NamedTuple):
    fingerprint: bytes
    until: float
    origin: Origin


class Cache:
    """Remembers for ``lifetime`` that a password was accepted.

    A wrong password neither evicts nor changes an entry. A hit does not renew the lifetime. Beyond ``entries``
    the least recently used goes.

    :param entries: at most so many persons.
    :param lifetime: seconds.
    :param stale: seconds after that for which an entry is still kept for :meth:`holds_stale`.
    :param clock: seconds, monotonic.

    ``drops`` counts the calls of :meth:`drop`. Whoever asked a directory before one does not store what it said.
    """

    def __init__(
        self, entries: int, lifetime: float, *, stale: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries: TTLCache[bytes, _Entry] = TTLCache(entries, lifetime + stale, clock)
        self.drops = 0
        self._lifetime = lifetime
        self._clock = clock
        self._fingerprint = fingerprints()

    def holds(self, key: bytes, password: bytes) -> bool:
        """Whether this very password was accepted for this key within the lifetime."""
        kept = self._entries.get(key)
        return (
            kept is not None
            and self._clock() < kept.until
            and hmac.compare_digest(kept.fingerprint, self._fingerprint(key, password))
        )

    def holds_stale(self, key: bytes, password: bytes) -> bool:
        """Whether it was accepted within the lifetime or the seconds after it."""
        kept = self._entries.get(key)
        return kept is not None and hmac.compare_digest(kept.fingerprint, self._fingerprint(key, password))

    def store(self, key: bytes, password: bytes, origin: Origin) -> None:
        """Remember an accepted password in place of the key's last one; the lifetime begins now."""
        self._entries[key] = _Entry(self._fingerprint(key, password), self._clock() + self._lifetime, origin)

    def forget(self, key: bytes, password: bytes) -> None:
        """Forget this very password, if it is the one remembered: it has been refused since."""
        if self.holds_stale(key, password):
            self._entries.pop(key, None)

    def drop(self, whose: Callable[[Origin], bool]) -> int:
        """Forget every entry of such an origin; how many there were. Looks at all of them: some 0.5 µs each."""
        self.drops += 1
        keys = [key for key, kept in list(self._entries.items()) if whose(kept.origin)]
        return sum(self._entries.pop(key, None) is not None for key in keys)

    @property
    def most(self) -> int:
        """Entries that there can be."""
        return int(self._entries.maxsize)

    def __len__(self) -> int:
        return len(self._entries)
