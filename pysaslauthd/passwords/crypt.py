"""crypt(3) of the system's libcrypt: each method of crypt(5), its format checked and its cost known beforehand.

Called through ctypes: the standard library's ``crypt`` left with Python 3.13 and held the GIL. ctypes.CDLL lets
the GIL go and each call brings its own work area, so any number of threads may verify at once.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from pysaslauthd.passwords.scheme import BEYOND, MAX_MEMORY, malformed, unsupported

if TYPE_CHECKING:
    from pysaslauthd.passwords.scheme import Check

# libxcrypt without and with glibc's old names; None is the process itself, for musl has crypt in its libc.
_LIBRARIES = ("libcrypt.so.2", "libcrypt.so.1", None)

_CRYPT_RN_AREA = 32768
"""Bytes of libxcrypt's struct crypt_data; crypt_rn checks the size it is given."""
_CRYPT_R_AREA = 131232
"""Bytes of glibc's struct crypt_data, the largest there is; crypt_r does not ask."""

Hash = Callable[[bytes, bytes], "bytes | None"]
"""crypt(password, setting): the hash; or a failure token, which begins with ``*``; or None."""


def _find() -> Hash | None:
    """The re-entrant crypt of this system, or None where there is none."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if (crypt_rn := getattr(library, "crypt_rn", None)) is not None:
            crypt_rn.restype = ctypes.c_char_p
            crypt_rn.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
            return lambda password, setting: crypt_rn(
                password, setting, ctypes.create_string_buffer(_CRYPT_RN_AREA), _CRYPT_RN_AREA
            )
        if (crypt_r := getattr(library, "crypt_r", None)) is not None:
            crypt_r.restype = ctypes.c_char_p
            crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
            return lambda password, setting: crypt_r(password, setting, ctypes.create_string_buffer(_CRYPT_R_AREA))
    return None


_hash = _find()

_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# What crypt_gensalt writes: a digit each for log2(N) - 1 and r - 1. The rest of what the format allows
# (longer numbers, parallelism, a ROM) is not met in directories, and its cost is not known here.
_YESCRYPT = re.compile(rb"j([./0-9A-Za-j])([./0-9A-Za-j])")


class _Method(NamedTuple):
    """A method: the format of a whole hash, its cost in milliseconds, a cheap setting to try it with."""

    pattern: bytes
    cost: Callable[[re.Match[bytes]], float]
    probe: bytes


def _method(identifier: bytes, rest: bytes, cost: Callable[[re.Match[bytes]], float], probe: bytes) -> _Method:
    """``rest``: the format after the identifier; D stands for a digit of crypt's base 64, S for a salt's character."""
    rest = rest.replace(b"S", rb"[\"#%-)+-9<-\[\]-~]").replace(b"D", b"[./0-9A-Za-z]")
    return _Method(re.escape(identifier) + rest, cost, identifier + probe)


def _constant(ms: float) -> Callable[[re.Match[bytes]], float]:
    return lambda _: ms


def _rounds(ms: float, *, default: int = 0, extra: int = 0) -> Callable[[re.Match[bytes]], float]:
    return lambda match: ms * (float(match[1] or default) + extra)


def _bsdi(match: re.Match[bytes]) -> float:
    return 0.00015 * _number(match[1])


def _bcrypt(match: re.Match[bytes]) -> float:
    return 0.06 * 2.0 ** int(match[1])


def _yescrypt(match: re.Match[bytes]) -> float:
    parameters = _YESCRYPT.fullmatch(match[1])
    if parameters is None:
        return BEYOND[0]
    log2_n, r = (_number(digit) + 1 for digit in parameters.groups())
    return _memory_hard(0.00015, log2_n, r, 1)


def _scrypt(match: re.Match[bytes]) -> float:
    return _memory_hard(0.00028, *(_number(digits) for digits in match.groups()))


def _memory_hard(ms: float, log2_n: int, r: int, p: int) -> float:
    """Time grows with N * r * p, memory is 128 * r * (N + p) bytes (RFC 7914 section 2)."""
    n = 1 << log2_n
    if 128 * r * (n + p) > MAX_MEMORY:
        return BEYOND[0]
    return ms * n * r * p


def _number(digits: bytes) -> int:
    """A number in crypt's base 64, lowest digit first."""
    return sum(_ALPHABET.index(digit) << 6 * place for place, digit in enumerate(digits))


_BCRYPT_REST = rb"\$(0[4-9]|[12][0-9]|3[01])\$D{53}"
_BCRYPT_PROBE = b"$04$......................"
_YESCRYPT_REST = rb"\$(D+)\$D{0,86}\$D{43}"

# A password of 511 bytes, the longest that libxcrypt takes, costs ten times as much as a usual one in the methods
# built on MD5 and SHA. Where no rounds can be chosen, that is the cost named: such a hash is never taken as quick.
_METHODS = {
    identifier: _method(identifier, rest, cost, probe)
    for identifier, rest, cost, probe in (
        (b"", rb"D{2}(?:D{11}){1,16}", _constant(0.11), b"ab"),
        (b"_", rb"(D{4})D{15}", _bsdi, b"/...salt"),
        (b"$1", rb"\$S{1,8}\$D{22}", _constant(1.7), b"$salt$"),
        (b"$3", rb"\$\$[0-9a-f]{32}", _constant(0.004), b"$$"),
        (b"$md5", rb"(?:,rounds=([1-9][0-9]{0,9}))?\$D{8}\$\$?D{22}", _rounds(0.0015, extra=4096), b"$saltsalt$"),
        (b"$sha1", rb"\$([1-9][0-9]{0,9})\$D{1,64}\$D{28}", _rounds(0.0008), b"$4$salt$"),
        (
            b"$5",
            rb"\$(?:rounds=([1-9][0-9]{3,8})\$)?S{1,16}\$D{43}",
            _rounds(0.00044, default=5000),
            b"$rounds=1000$salt$",
        ),
        (
            b"$6",
            rb"\$(?:rounds=([1-9][0-9]{3,8})\$)?S{1,16}\$D{86}",
            _rounds(0.00031, default=5000),
            b"$rounds=1000$salt$",
        ),
        (b"$2a", _BCRYPT_REST, _bcrypt, _BCRYPT_PROBE),
        (b"$2b", _BCRYPT_REST, _bcrypt, _BCRYPT_PROBE),
        (b"$2x", _BCRYPT_REST, _bcrypt, _BCRYPT_PROBE),
        (b"$2y", _BCRYPT_REST, _bcrypt, _BCRYPT_PROBE),
        (b"$7", rb"\$(D)(D{5})(D{5})D{0,86}\$D{43}", _scrypt, b"$2/..../....salt"),
        (b"$y", _YESCRYPT_REST, _yescrypt, b"$j75$salt"),
        (b"$gy", _YESCRYPT_REST, _yescrypt, b"$j75$salt"),
    )
}
_IDENTIFIER = re.compile(rb"\$[0-9a-z]+|_")


@functools.cache  # bounded by the methods above
def _knows(function: Hash, setting: bytes) -> bool:
    """Whether the library has the method: one that it lacks must not look like a wrong password."""
    hashed = function(b"", setting)
    return hashed is not None and hashed.startswith(setting)


def read(scheme: str, value: bytes) -> Check:
    """What crypt(3) returned. A failure token (``*0``), a locked hash (``!…``), a truncated one: all malformed.

    OpenLDAP's {UNIX} names a login whose shadow entry counts; here, as in saslauthd, it is {CRYPT}'s other name, and
    a login is a malformed hash (or, with 13 letters, a DES hash that no password matches).
    """
    found = _IDENTIFIER.match(value)
    method = _METHODS.get(found[0] if found else b"")
    if method is None or _hash is None:
        raise unsupported(scheme, "no method of crypt(3) here" if _hash else "libcrypt is not installed")
    # Compiled, and kept by re, when it is met: all of them would take 2 ms at the start.
    match = re.fullmatch(method.pattern, value)
    if match is None:
        raise malformed(scheme)
    function = _hash
    if not _knows(function, method.probe):
        raise unsupported(scheme, "this system's libcrypt does not know the method")

    def verify(password: bytes) -> bool:
        # crypt(3) takes a C string: it would check what stands before the NUL alone.
        if b"\0" in password:
            return False
        hashed = function(password, value)
        return hashed is not None and compare_digest(hashed, value)

    return method.cost(match), verify


def read_gost_yescrypt(scheme: str, value: bytes) -> Check:
    """389 DS's name for crypt(5)'s gost-yescrypt, and for no other method."""
    if not value.startswith(b"$gy$"):
        raise malformed(scheme)
    return read(scheme, value)
