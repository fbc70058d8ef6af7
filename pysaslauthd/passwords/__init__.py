"""Stored passwords: RFC 2307's ``{SCHEME}value`` as 389 Directory Server and OpenLDAP keep it in userPassword.

What counts as a scheme is OpenLDAP's rule: a value that begins with ``{`` and has a ``}`` after at least one other
byte. Every other value is clear text. 389 DS takes such a value as clear text where it does not know the name; then
a hash of a scheme that this package does not know would be a password that lets in whoever has read it. So it is
refused, and so is a real clear password of that form: it can be checked by a bind.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords import argon2, crypt, digest, pbkdf2
from pysaslauthd.passwords.scheme import malformed, unsupported

if TYPE_CHECKING:
    from pysaslauthd.passwords.scheme import Check, Scheme, Verify

MAX_MS = 1000.0
"""Default of the longest verification that is begun: a quarter of a login's deadline."""

SLOW_MS = 0.2
"""From here on a thread costs less than what the event loop would lose."""

_BRACE = ord("{")
_MAX_NAME = 32
"""Bytes of an unknown scheme's name that are repeated in an error; the longest known name has 13."""


class StoredPassword(NamedTuple):
    """A stored password, ready to be checked.

    ``scheme``: its name as found, upper case, without braces; CLEAR where there is none. ``slow``: ``verify`` is
    estimated to take over 0.2 ms and belongs in a thread. ``verify(password)``: whether it matches; raises nothing
    whatever the bytes, takes the same time wherever two values differ, may run in several threads at once.
    """

    scheme: str
    slow: bool
    verify: Verify


def parse(stored: bytes, *, max_ms: float = MAX_MS) -> StoredPassword:
    """A stored value as something that can be verified.

    :param stored: one value of userPassword.
    :param max_ms: the longest verification to allow, in milliseconds, by estimate (see ``scheme.Check``).
    :raises StoredPasswordError: UNKNOWN_SCHEME; MALFORMED_HASH (also an empty value); HASH_TOO_COSTLY, before any
        work is done; HASH_UNSUPPORTED where libcrypt or argon2-cffi lacks it, and for {SASL}.
    """
    end = stored.find(b"}")
    if end > 1 and stored[0] == _BRACE:
        found = _SCHEMES.get(stored[1:end].upper())
        if found is None:
            raise StoredPasswordError(Reason.UNKNOWN_SCHEME, _printable(stored[1:end]))
        name, read = found
        ms, verify = read(name, stored[end + 1 :])
    else:
        name = "CLEAR"
        ms, verify = _clear(name, stored)
    if ms > max_ms:
        raise StoredPasswordError(Reason.HASH_TOO_COSTLY, name)
    # Not StoredPassword(…), which is a call of Python.
    return tuple.__new__(StoredPassword, (name, ms > SLOW_MS, verify))


def _printable(name: bytes) -> str:
    """An unknown name for the log, unless it does not look like one: it may be part of a clear password."""
    text = name.decode("ascii", "replace").upper()
    plain = text.replace("-", "").replace("_", "")
    return text if len(text) <= _MAX_NAME and plain.isascii() and plain.isalnum() else "?"


def _clear(scheme: str, value: bytes) -> Check:
    """The password itself. A hash marked as clear text, {CLEAR}{SSHA}…, is a mishap and malformed."""
    if not value or (value.startswith(b"{") and value.find(b"}") > 1):
        raise malformed(scheme)
    return 0.0, lambda password: compare_digest(password, value)


def _pass_through(scheme: str, _: bytes) -> Check:
    """{SASL}user: the directory would ask saslauthd, which would ask the directory."""
    raise unsupported(scheme, "it would ask saslauthd in turn; use ldap_auth_method: bind against another server")


_SCHEMES: dict[bytes, tuple[str, Scheme]] = {
    name.encode(): (name, scheme)
    for name, scheme in {
        "CLEAR": _clear,
        "CLEARTEXT": _clear,
        "CRYPT": crypt.read,
        "UNIX": crypt.read,
        "MD5": digest.plain(digest.MD5),
        "SMD5": digest.salted(digest.MD5),
        "SHA": digest.plain(digest.SHA1),
        "SSHA": digest.salted(digest.SHA1),
        "SHA256": digest.plain(digest.SHA256),
        "SHA-256": digest.plain(digest.SHA256),
        "SSHA256": digest.salted(digest.SHA256),
        "SSHA-256": digest.salted(digest.SHA256),
        "SHA384": digest.plain(digest.SHA384),
        "SHA-384": digest.plain(digest.SHA384),
        "SSHA384": digest.salted(digest.SHA384),
        "SSHA-384": digest.salted(digest.SHA384),
        "SHA512": digest.plain(digest.SHA512),
        "SHA-512": digest.plain(digest.SHA512),
        "SSHA512": digest.salted(digest.SHA512),
        "SSHA-512": digest.salted(digest.SHA512),
        "PBKDF2": pbkdf2.text("sha1"),
        "PBKDF2-SHA1": pbkdf2.text("sha1"),
        "PBKDF2-SHA256": pbkdf2.text("sha256"),
        "PBKDF2-SHA512": pbkdf2.text("sha512"),
        "PBKDF2_SHA256": pbkdf2.read_binary,
        "GOST_YESCRYPT": crypt.read_gost_yescrypt,
        "ARGON2": argon2.read,
        "SASL": _pass_through,
    }.items()
}
