"""What is kept of a password: a keyed digest, which is worth nothing outside the process that made it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import blake2b

Fingerprint = Callable[[bytes, bytes], bytes]


def fingerprints() -> Fingerprint:
    """A function from whose password it is (any bytes) and the password to 32 bytes: BLAKE2b (RFC 7693).

    Its key is made here and never leaves the process, so that two functions never agree.
    """
    begun = blake2b(key=secrets.token_bytes(32), digest_size=32).copy

    def fingerprint(key: bytes, password: bytes) -> bytes:
        digest = begun()
        # The key's length first: no other key and password make the same octets.
        digest.update(b"%d:%b%b" % (len(key), key, password))
        return digest.digest()

    return fingerprint
