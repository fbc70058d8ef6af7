"""PBKDF2 (RFC 8018 section 5.2) as 389 DS and OpenLDAP's contributed module write it."""

from __future__ import annotations

import hashlib
import math
import re
from hmac import compare_digest
from typing import TYPE_CHECKING

from pysaslauthd.passwords.scheme import BEYOND, decode, malformed

if TYPE_CHECKING:
    from pysaslauthd.passwords.scheme import Check, Scheme

# Milliseconds for one iteration of one block: 10,000 iterations of hashlib.pbkdf2_hmac, divided.
_MS = {"sha1": 0.0003, "sha256": 0.0003, "sha512": 0.00066}
_SIZE = {"sha1": 20, "sha256": 32, "sha512": 64}

_MAX_ITERATIONS = 2**31 - 1
"""OpenSSL counts in an int; hashlib raises beyond."""

_TEXT = re.compile(rb"([1-9][0-9]*)\$([^$]+)\$([^$]+)")

_BINARY_SALT = 64
_BINARY_KEY = 256


def text(name: str) -> Scheme:
    """``iterations$base64(salt)$base64(key)``; the key is one digest of ``name`` long.

    389 DS writes standard base64, OpenLDAP "adapted" base64 (``.`` for ``+``, no padding) under the same
    scheme names. No character means two things, so both are read without asking which it is.
    """

    def read(scheme: str, value: bytes) -> Check:
        match = _TEXT.fullmatch(value)
        if match is None:
            raise malformed(scheme)
        salt, key = (decode(scheme, part.replace(b".", b"+")) for part in match.group(2, 3))
        # 389 DS derives as many bytes as are stored, so that a key of one byte would let one in 256 in.
        if len(key) != _SIZE[name]:
            raise malformed(scheme)
        # As a float: int() raises for thousands of digits.
        return _check(name, float(match[1]), salt, key)

    return read


def read_binary(scheme: str, value: bytes) -> Check:
    """base64 of 4 bytes iterations (big-endian), 64 bytes salt, 256 bytes key: 389 DS's PBKDF2_SHA256."""
    decoded = decode(scheme, value)
    iterations = int.from_bytes(decoded[:4], "big")
    salt = decoded[4 : 4 + _BINARY_SALT]
    key = decoded[4 + _BINARY_SALT :]
    if len(key) != _BINARY_KEY or iterations == 0:
        raise malformed(scheme)
    return _check("sha256", iterations, salt, key)


def _check(name: str, iterations: float, salt: bytes, key: bytes) -> Check:
    if iterations > _MAX_ITERATIONS:
        return BEYOND
    count = int(iterations)
    blocks = math.ceil(len(key) / _SIZE[name])

    def verify(password: bytes) -> bool:
        return compare_digest(hashlib.pbkdf2_hmac(name, password, salt, count, len(key)), key)

    return count * blocks * _MS[name], verify
