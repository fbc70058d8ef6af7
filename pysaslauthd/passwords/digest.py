"""One round of a digest, salted or not: RFC 2307 section 5.3, and its cousins SMD5, SSHA and SHA-2."""

from __future__ import annotations

import hashlib
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from pysaslauthd.passwords.scheme import decode, malformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pysaslauthd.passwords.scheme import Check, Scheme

_MS = 0.002


class Digest(NamedTuple):
    """A digest: its constructor and its size in bytes."""

    new: Callable[[bytes], hashlib._Hash]
    size: int


# A FIPS build refuses MD5 alone, unless it is told that nothing relies on it; the directory has made its choice.
MD5 = Digest(partial(hashlib.md5, usedforsecurity=False), 16)
SHA1 = Digest(hashlib.sha1, 20)
SHA256 = Digest(hashlib.sha256, 32)
SHA384 = Digest(hashlib.sha384, 48)
SHA512 = Digest(hashlib.sha512, 64)


def plain(digest: Digest) -> Scheme:
    """base64(digest(password)). Anything after the digest is malformed."""
    new, size = digest

    def read(scheme: str, value: bytes) -> Check:
        stored = decode(scheme, value)
        if len(stored) != size:
            raise malformed(scheme)

        def verify(password: bytes) -> bool:
            return compare_digest(new(password).digest(), stored)

        return _MS, verify

    return read


def salted(digest: Digest) -> Scheme:
    """base64(digest(password + salt) + salt). The salt has any length but none, as in OpenLDAP."""
    new, size = digest

    def read(scheme: str, value: bytes) -> Check:
        decoded = decode(scheme, value)
        if len(decoded) <= size:
            raise malformed(scheme)
        stored = decoded[:size]
        salt = decoded[size:]

        def verify(password: bytes) -> bool:
            return compare_digest(new(password + salt).digest(), stored)

        return _MS, verify

    return read
