"""How a configuration key is declared, and the kinds of value that a key can have.

A key is one dataclass field made by :func:`key`: its kind, default, unit, aliases and meaning stand in one
place, from which the file is read, the warnings are worded and a manual page can be made.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
W = TypeVar("W", bound=str)

CREDENTIALS = "${CREDENTIALS_DIRECTORY}/"
"""What the path of a secret may begin with: the folder that systemd makes for LoadCredential= (systemd.exec(5))."""

_SHOWN = 60
"""How much of a bad value an error message repeats, in characters."""

_SWITCHES = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,6})?")
# RFC 4512 section 2.5: a descriptor or an OID, then options.
_ATTRIBUTE = re.compile(r"([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*")
_TOKEN = re.compile(r"%(.?)", re.DOTALL)
_TOKENS = frozenset("%uUdsrRD123456789")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value.

    :param values: what may be written, for people: ``yes or no``, ``a whole number from 0 to 9``.
    :param read: the bytes after ``key:`` to a value; ``b""`` stands for "none" where a key may be absent. It raises
        ValueError with a reason for people.
    """

    values: str
    read: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key: all that is known of it but its name, which is its field's.

    ``default`` is what one would write in the file, empty for none; ``unit`` is empty where there is none;
    ``meaning`` is one sentence; ``secret`` keys are shown nowhere.
    """

    kind: Kind[T]
    default: str
    meaning: str
    unit: str
    aliases: tuple[str, ...]
    secret: bool


def key(
    kind: Kind[T],
    default: str,
    meaning: str,
    *,
    unit: str = "",
    aliases: tuple[str, ...] = (),
    secret: bool = False,
) -> T:
    """Declare a key as a dataclass field; the parameters are those of :class:`Key`."""
    about = Key(kind, default, meaning, unit, aliases, secret)
    return field(default=kind.read(default.encode()), repr=not secret, metadata={"key": about})


def keys_of(settings: type[Any], prefix: str) -> Mapping[str, Key[Any]]:
    """The keys that a dataclass declares, by name as written in the file, in the order of declaration."""
    return MappingProxyType({prefix + each.name: each.metadata["key"] for each in fields(settings)})


def shown(value: str) -> str:
    """A value as an error message may repeat it: quoted, on one line, not too long."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


def text_of(value: bytes) -> str:
    """The value as text, without blanks at its end.

    :raises ValueError: it is not UTF-8.
    """
    try:
        return value.rstrip(b" \t\r\v\f").decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {value[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None


def _switch_of(value: bytes) -> bool:
    word = text_of(value)
    try:
        return _SWITCHES[word.lower()]
    except KeyError:
        raise ValueError(f"{shown(word)} is not a switch; write yes or no") from None


def _path_of(value: bytes) -> str:
    # Relative to what? A daemon changes its folder, so the answer would surprise somebody.
    path = text_of(value)
    if path and not path.startswith("/"):
        raise ValueError(f"{shown(path)} is not an absolute path")
    return path


def _secret_path_of(value: bytes) -> str:
    path = text_of(value)
    return path if path.startswith(CREDENTIALS) and len(path) > len(CREDENTIALS) else _path_of(value)


def _attribute_of(value: bytes) -> str:
    name = text_of(value)
    if not _ATTRIBUTE.fullmatch(name):
        raise ValueError(f"{shown(name)} is not the name of an attribute")
    return name


def _template_of(value: bytes) -> str:
    template = text_of(value)
    for token in tokens_of(template):
        if token not in _TOKENS:
            raise ValueError(f"%{token} is not a token; a percent sign is written %%")
    return template


def _ciphers_of(value: bytes) -> str:
    ciphers = text_of(value)
    if ciphers:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
        except (ssl.SSLError, ValueError):
            raise ValueError(
                f"OpenSSL knows no cipher in {shown(ciphers)}; a priority string of GnuTLS must be rewritten"
            ) from None
    return ciphers


def tokens_of(template: str) -> list[str]:
    """The letters after each percent sign of a template, in order; empty for one at the very end."""
    return _TOKEN.findall(template)


TEXT = Kind("text", text_of)
SECRET = Kind("any bytes but NUL and line feed, blanks at the end included", bytes)
SWITCH = Kind("yes or no (on, off, true, false, 1, 0)", _switch_of)
PATH = Kind("an absolute path", _path_of)
SECRET_PATH = Kind(f"an absolute path, or {CREDENTIALS}NAME for a credential of systemd", _secret_path_of)
ATTRIBUTE = Kind("the name of an attribute", _attribute_of)
TEMPLATE = Kind("text with %-tokens", _template_of)
CIPHERS = Kind("a cipher list of OpenSSL, see openssl-ciphers(1)", _ciphers_of)


def integer(minimum: int, maximum: int) -> Kind[int]:
    """Whole numbers from minimum to maximum."""
    values = f"a whole number from {minimum} to {maximum}"

    def read(value: bytes) -> int:
        word = text_of(value)
        if not _INTEGER.fullmatch(word) or not minimum <= int(word) <= maximum:
            raise ValueError(f"{shown(word)} is not {values}")
        return int(word)

    return Kind(values, read)


def seconds(minimum: float, maximum: float) -> Kind[float]:
    """Seconds from minimum to maximum, with or without a decimal fraction."""
    values = f"a number from {minimum:g} to {maximum:g}, such as 2 or 0.5"

    def read(value: bytes) -> float:
        word = text_of(value)
        if not _SECONDS.fullmatch(word) or not minimum <= float(word) <= maximum:
            raise ValueError(f"{shown(word)} is not {values}")
        return float(word)

    return Kind(values, read)


def choice(*words: W) -> Kind[W]:
    """One of some lower-case words, written in any case."""
    values = ", ".join(words)
    table = {str(word): word for word in words}

    def read(value: bytes) -> W:
        word = text_of(value)
        try:
            return table[word.lower()]
        except KeyError:
            raise ValueError(f"{shown(word)} is none of {values}") from None

    return Kind(values, read)
