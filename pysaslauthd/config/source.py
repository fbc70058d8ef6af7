"""One file while it is read: where its keys stand, and what there is to say about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Self

from pysaslauthd.config.daemon import DaemonSettings
from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.errors import ConfigError


class Realm(NamedTuple):
    """What a realm's own file says, over what the main file says. ``name`` is its file's, for people."""

    name: str
    file: str
    settings: LdapSettings


class Loaded(NamedTuple):
    """A configuration that can be used, and one line for each doubt about it (``file:line: key: text``).

    ``realms`` are those with a file of their own, by name in lower case. ``settings`` are the main file's, which answer
    for all others, unless they are refused.
    """

    settings: LdapSettings
    daemon: DaemonSettings
    warnings: tuple[str, ...]
    realms: Mapping[bytes, Realm] = MappingProxyType({})

    def of(self, domain: bytes) -> LdapSettings | None:
        """The settings that answer for an identity's domain; None where it is refused."""
        realm = self.realms.get(domain.lower())
        if realm is not None:
            return realm.settings
        return self.settings if self.daemon.serves_unlisted else None

    def parts(self) -> Iterator[tuple[str, LdapSettings]]:
        """All settings that answer for anybody: the main file's under an empty name, then each realm's."""
        if self.daemon.serves_unlisted:
            yield "", self.settings
        for realm in self.realms.values():
            yield realm.name, realm.settings


def printable(text: str) -> str:
    """Text on one line: what cannot be printed is escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Source:
    """The places of the keys in a file, and the warnings so far.

    ``lines`` holds the line number of every key that the file sets, by the key's own name; ``unset`` the keys that a
    realm's file gives their defaults back. ``warnings`` stand in the order in which they were found.

    :param main: for a realm's file, the one that it is laid over.
    """

    def __init__(self, file: str, main: Self | None = None) -> None:
        self.file = printable(file)
        self.main = main
        self.lines: dict[str, int] = {}
        self.unset: set[str] = set()
        self.warnings: list[str] = []
        self._told: set[tuple[str, str]] = set()

    def given(self, key: str) -> bool:
        """Whether a key is set, here or in the main file."""
        return key in self.lines or (self.main is not None and key not in self.unset and self.main.given(key))

    def warn(self, key: str, text: str, *, line: int | None = None) -> None:
        """Note a doubt about a key, at the given line or where the key stands.

        What the main file has been warned of is not said again of a key that comes from there.
        """
        inherited = line is None and key not in self.lines
        if self.main is not None and inherited and (key, text) in self.main._told:
            return
        self._told.add((key, text))
        self.warnings.append(str(self.error(key, text, line=line)))

    def error(self, key: str, reason: str, *, line: int | None = None) -> ConfigError:
        """The error that says the reason with file, line and key."""
        return ConfigError(printable(reason), file=self.file, line=line or self.lines.get(key), key=key)
