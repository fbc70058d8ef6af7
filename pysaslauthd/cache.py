"""Accepted logins, remembered for a while: one entry per person, in memory only."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import blake2b

from cachetools import TTLCache


class Cache:
    """Remembers for ``lifetime`` that a password was accepted.

    What is kept of a password is a BLAKE2b digest under a key that is made at start and never leaves the
    process. A wrong password neither evicts nor changes an entry. A hit does not renew the lifetime. Beyond
    ``entries`` the least recently used goes.

    :param entries: at most so many persons.
    :param lifetime: seconds.
    :param clock: seconds, monotonic.
    """

    def __init__(self, entries: int, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._digests: TTLCache[bytes, bytes] = TTLCache(entries, lifetime, clock)
        self._secret = secrets.token_bytes(32)

    def holds(self, key: bytes, password: bytes) -> bool:
        """Whether this very password was accepted for this key within the lifetime."""
        kept = self._digests.get(key)
        return kept is not None and hmac.compare_digest(kept, self._digest(key, password))

    def store(self, key: bytes, password: bytes) -> None:
        """Remember an accepted password in place of the key's last one; the lifetime begins now."""
        self._digests[key] = self._digest(key, password)

    def _digest(self, key: bytes, password: bytes) -> bytes:
        # The key's length first: no other key and password make the same octets.
        return blake2b(b"%d:%b%b" % (len(key), key, password), key=self._secret, digest_size=32).digest()

    def __len__(self) -> int:
        return len(self._digests)
