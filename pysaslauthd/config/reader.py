"""The text of saslauthd.conf to settings: lines, keys, single values. No I/O.

A line is ``key: value``; the key in any case, no blank before its colon, no quoting, no continuation, ``#``
only at the start of a line. Blanks at the end of a value are dropped, but for passwords, which are taken
byte for byte as the original does. A carriage return before the line feed belongs to the line's end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pysaslauthd.config import daemon, ldap
from pysaslauthd.config.check import settle, warn_of_daemon
from pysaslauthd.config.daemon import DaemonSettings
from pysaslauthd.config.keys import Key
from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.config.source import Loaded, Source
from pysaslauthd.errors import ConfigError

_BLANKS = b" \t\r\v\f"
_KEY = re.compile(rb"[A-Za-z0-9_-]+")
_NO_KEY = re.compile(rb"[^A-Za-z0-9_-]")
_BOM = b"\xef\xbb\xbf"
_QUOTES = (b'"', b"'")

KEYS: Mapping[str, Key[Any]] = MappingProxyType({**ldap.KEYS, **daemon.KEYS})
"""Every key by its name, in the order of declaration: for reading, and for a manual page."""

_PREFIX = "ldap_"
_SPELLINGS = {spelling: name for name, key in KEYS.items() for spelling in (name, *key.aliases)}
_SIMILAR = 0.6
"""Likeness from which an unknown key is taken for a slip; the prefix most keys share is left out of it."""

_FOREIGN = {
    "httpform_": "belongs to the mechanism httpform, which is not served here",
    "krb5_": "belongs to the mechanism kerberos5, which is not served here",
    "log_level": "is not a key of saslauthd either, though it is found in many files; see the options -V and -d",
}


def parse(text: bytes, file: str) -> Loaded:
    """The settings that a file's text stands for; files that it names are not looked at.

    :param file: the file's name, for messages.
    :raises ConfigError: the text cannot be used; says line and key.
    """
    settings, own, source = read(text, file)
    return Loaded(settings, own, tuple(source.warnings))


def read(text: bytes, file: str) -> tuple[LdapSettings, DaemonSettings, Source]:
    """As :func:`parse`, with the places of the keys."""
    source = Source(file)
    if text.startswith(_BOM):
        text = text[len(_BOM) :]
        source.warnings.append(f"{file}:1: the byte order mark at the start is passed over")
    values: dict[str, Any] = {}
    carriage_return = False
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.endswith(b"\r"):
            line = line[:-1]  # noqa: PLW2901 - the line without its end
            if not carriage_return:
                source.warnings.append(
                    f"{file}:{number}: the carriage return before the line end is dropped, here and on"
                )
            carriage_return = True
        line = line.lstrip(_BLANKS)  # noqa: PLW2901 - the same line from its first character
        if line and not line.startswith(b"#"):
            _read_line(line, number, values, source)
    of_ldap = {name.removeprefix(_PREFIX): value for name, value in values.items() if name in ldap.KEYS}
    settings = settle(LdapSettings(**of_ldap), source)
    own = DaemonSettings(**{name: value for name, value in values.items() if name in daemon.KEYS})
    warn_of_daemon(own, source)
    return settings, own, source


def _read_line(line: bytes, number: int, values: dict[str, Any], source: Source) -> None:
    """Add what one line says to the values; no message repeats what may be a password."""
    word, colon, rest = line.partition(b":")
    if not colon or not _KEY.fullmatch(word):
        first = _NO_KEY.split(word, maxsplit=1)[0].decode().lower()
        raise ConfigError(
            "no value: a line is written 'key: value', with the colon right after the key",
            file=source.file,
            line=number,
            key=first if first in _SPELLINGS else None,
        )
    spelling, value = word.decode().lower(), rest.lstrip(_BLANKS)
    if not value:
        raise source.error(spelling, "no value; write one, or a # before the key", line=number)
    if b"\0" in line:
        raise source.error(spelling, "a NUL byte in the line", line=number)
    name = _SPELLINGS.get(spelling)
    if name is None:
        source.warn(spelling, _unknown(spelling), line=number)
        return
    key = KEYS[name]
    if name in source.lines:
        source.warn(spelling, f"given again; this one counts, not the one on line {source.lines[name]}", line=number)
    _warn_of_value(spelling, key, value, number, source)
    try:
        values[name] = key.kind.read(value)
    except ValueError as error:
        raise source.error(spelling, str(error), line=number) from None
    source.lines[name] = number


def _warn_of_value(spelling: str, key: Key[Any], value: bytes, number: int, source: Source) -> None:
    bare = value.rstrip(_BLANKS)
    if len(bare) > 1 and bare[:1] == bare[-1:] and bare[:1] in _QUOTES:
        source.warn(spelling, "the quotes are part of the value; values are written without", line=number)
    if key.secret and bare != value:
        source.warn(spelling, "the blanks at the end are part of the value", line=number)


def _unknown(spelling: str) -> str:
    for start, why in _FOREIGN.items():
        if spelling.startswith(start):
            return f"{why}; the line is passed over"
    bare = {known.removeprefix(_PREFIX): known for known in _SPELLINGS}
    similar = difflib.get_close_matches(spelling.removeprefix(_PREFIX), bare, n=1, cutoff=_SIMILAR)
    return "unknown key, the line is passed over" + (f"; did you mean {bare[similar[0]]}?" if similar else "")
