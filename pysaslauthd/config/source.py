"""One file while it is read: where its keys stand, and what there is to say about them."""

from __future__ import annotations

from typing import NamedTuple

from pysaslauthd.config.daemon import DaemonSettings
from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.errors import ConfigError


class Loaded(NamedTuple):
    """A configuration that can be used, and one line for each doubt about it (``file:line: key: text``)."""

    settings: LdapSettings
    daemon: DaemonSettings
    warnings: tuple[str, ...]


def printable(text: str) -> str:
    """Text on one line: what cannot be printed is escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Source:
    """The places of the keys in a file, and the warnings so far.

    ``lines`` holds the line number of every key that the file sets, by the key's own name. ``warnings``
    stand in the order in which they were found.
    """

    def __init__(self, file: str) -> None:
        self.file = printable(file)
        self.lines: dict[str, int] = {}
        self.warnings: list[str] = []

    def warn(self, key: str, text: str, *, line: int | None = None) -> None:
        """Note a doubt about a key, at the given line or where the key stands."""
        self.warnings.append(str(self.error(key, text, line=line)))

    def error(self, key: str, reason: str, *, line: int | None = None) -> ConfigError:
        """The error that says the reason with file, line and key."""
        return ConfigError(printable(reason), file=self.file, line=line or self.lines.get(key), key=key)
