"""Argon2 (RFC 9106) as OpenLDAP's module argon2 stores it, checked by argon2-cffi where that is installed."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from pysaslauthd.passwords.scheme import BEYOND, MAX_MEMORY, decode, malformed, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from pysaslauthd.passwords.scheme import Check

# Milliseconds to fill 1 KiB once: m=65536, t=3, p=1, divided.
_MS = 0.0008

_MAX_LANES = 16
"""libargon2 starts a thread for each lane."""

_MIN_SALT = 8
"""Bytes; RFC 9106 section 3.1."""
_MIN_TAG = 16
"""Bytes; RFC 9106 section 4. The format allows 4, which a chance password may match."""

_FORMAT = re.compile(
    rb"\$argon2(id|i|d)(?:\$v=(?:16|19))?\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,7})"
    rb"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)


@functools.cache
def _verifier() -> Callable[[bytes, bytes, bytes], bool] | None:
    """Takes the stored value, the password and the variant; None without argon2-cffi.

    Imported on first use: it takes 15 ms, and few sites need it.
    """
    try:
        from argon2.exceptions import Argon2Error  # noqa: PLC0415 - an extra, see above
        from argon2.low_level import Type, verify_secret  # noqa: PLC0415 - an extra, see above
    except ImportError:
        return None
    types = {b"id": Type.ID, b"i": Type.I, b"d": Type.D}

    def verify(value: bytes, password: bytes, variant: bytes) -> bool:
        try:
            return verify_secret(value, password, types[variant])
        except Argon2Error:
            return False

    return verify


def read(scheme: str, value: bytes) -> Check:
    """``$argon2id$v=19$m=KiB,t=passes,p=lanes$base64(salt)$base64(tag)``, or ``i``, or ``d``."""
    match = _FORMAT.fullmatch(value)
    if match is None:
        raise malformed(scheme)
    salt, tag = (decode(scheme, part) for part in match.group(5, 6))
    memory, passes, lanes = (int(number) for number in match.group(2, 3, 4))
    if len(salt) < _MIN_SALT or len(tag) < _MIN_TAG or memory < 8 * lanes:
        raise malformed(scheme)
    if memory * 1024 > MAX_MEMORY or lanes > _MAX_LANES:
        return BEYOND
    verifier = _verifier()
    if verifier is None:
        raise unsupported(scheme, "needs argon2-cffi (pip install pysaslauthd[argon2])")
    variant = match[1]
    return _MS * memory * passes, lambda password: verifier(value, password, variant)
