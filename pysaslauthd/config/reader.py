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
from typing import Any, NamedTuple

from pysaslauthd.config import daemon, ldap
from pysaslauthd.config.check import check_daemon, settle
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

OF_REALMS = frozenset(ldap.KEYS) - {"ldap_default_realm"}
"""The keys that a realm's file may set. The default realm decides which realm is meant, so it is no realm's own."""

_PASSWORDS = ("ldap_password", "ldap_password_file")
"""One takes the place of the other."""

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
    main = read(text, file)
    return Loaded(main.settings, main.daemon, tuple(main.source.warnings))


class Main(NamedTuple):
    """The main file as it was read. ``values`` are those of its keys, for the realms.

    Where nobody but realms with files of their own is served, ``settings`` need not agree with each other.
    """

    settings: LdapSettings
    daemon: DaemonSettings
    source: Source
    values: Mapping[str, Any]


def read(text: bytes, file: str) -> Main:
    """As :func:`parse`, with the places of the keys and what each one says."""
    source = Source(file)
    values = _values(text, source)
    own = DaemonSettings(**{name: value for name, value in values.items() if name in daemon.KEYS})
    settings = _ldap_settings(values)
    if own.serves_unlisted:
        settings = settle(settings, source)
    check_daemon(own, source)
    return Main(settings, own, source, values)


def read_realm(text: bytes, file: str, main: Main) -> tuple[LdapSettings, Source]:
    """A realm's settings: the main file's, overridden key by key. A key without a value has its default again.

    :raises ConfigError: the text cannot be used, or not over this main file.
    """
    source = Source(file, main.source)
    values = _values(text, source)
    dropped = set(source.unset)
    if not values.keys().isdisjoint(_PASSWORDS):
        dropped.update(_PASSWORDS)
    inherited = {name: value for name, value in main.values.items() if name not in dropped}
    return settle(_ldap_settings({**inherited, **values}), source), source


def _ldap_settings(values: Mapping[str, Any]) -> LdapSettings:
    return LdapSettings(**{name.removeprefix(_PREFIX): value for name, value in values.items() if name in ldap.KEYS})


def _values(text: bytes, source: Source) -> dict[str, Any]:
    """The value of each key that the text sets."""
    file = source.file
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
    return values


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
    if not value and source.main is None:
        raise source.error(spelling, "no value; write one, or a # before the key", line=number)
    if b"\0" in line:
        raise source.error(spelling, "a NUL byte in the line", line=number)
    name = _SPELLINGS.get(spelling)
    if name is None:
        source.warn(spelling, _unknown(spelling), line=number)
        return
    key = KEYS[name]
    if source.main is not None and name not in OF_REALMS:
        raise source.error(spelling, f"cannot be a realm's own; write it in {source.main.file}", line=number)
    if name in source.lines:
        source.warn(spelling, f"given again; this one counts, not the one on line {source.lines[name]}", line=number)
    if not value:
        source.unset.add(name)
        source.lines.pop(name, None)
        values.pop(name, None)
        return
    source.unset.discard(name)
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
