"""What every hash scheme is made of: how a check looks, how it fails, base64, the bound on memory."""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable

from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason

Verify = Callable[[bytes], bool]
"""Whether a password is the stored one. Raises nothing, whatever the bytes."""

Check = tuple[float, Verify]
"""The estimated cost of one verification in milliseconds, and the verification.

The estimates come from constants measured on one core of an AMD EPYC (2 vCPU) with OpenSSL 3.0.19,
libxcrypt 4.4.33 and argon2-cffi 25.1, best of five, password of 12 bytes. They tell a usual hash from an
absurd one; a machine half as fast needs twice the time.
"""

Scheme = Callable[[str, bytes], Check]
"""Reads what follows the prefix. Takes the scheme's name and the value; raises StoredPasswordError."""

MAX_MEMORY = 128 * 1024 * 1024
"""Bytes that one verification may take. Twice RFC 9106's second recommended option (64 MiB); several run at once."""


def _never(_: bytes) -> bool:
    return False


BEYOND: Check = (math.inf, _never)
"""The check of a value that must not be tried whatever time there is."""


def malformed(scheme: str) -> StoredPasswordError:
    """The error of a value that breaks its scheme's format."""
    return StoredPasswordError(Reason.MALFORMED_HASH, scheme)


def unsupported(scheme: str, hint: str) -> StoredPasswordError:
    """The error of a value that a library or its version cannot check here; ``hint`` says what to do."""
    return StoredPasswordError(Reason.HASH_UNSUPPORTED, scheme, hint)


def decode(scheme: str, text: bytes) -> bytes:
    """The bytes behind base64 (RFC 4648 section 4).

    Padding may be missing. Bits left over in the last character are not looked at. One line feed at the
    end is forgiven: 389 DS keeps such values (its bug 552421) and binds with them.

    :raises StoredPasswordError: MALFORMED_HASH: it is no base64.
    """
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        text = text.removesuffix(b"\n")
        text += b"=" * (-len(text) % 4)
        try:
            decoded = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise malformed(scheme) from None
    # Python's strict mode lets padding pass after a whole group.
    if len(text) != (len(decoded) + 2) // 3 * 4:
        raise malformed(scheme)
    return decoded
