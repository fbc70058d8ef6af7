"""The entries of an LDIF file in memory, found by DN and by value."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from pysaslauthd.directory.interface import Entry
from pysaslauthd.directory.rules import Dn, dn_of, rule_of
from pysaslauthd.errors import ConfigError
from pysaslauthd.wire.ldif import Record

_NONE: AbstractSet[int] = frozenset()


class Content:
    """Entries, numbered in the file's order. Nothing in it changes, but indexes are made when first asked for.

    Attributes are named by lower-case descriptions. One without options means those with options too
    (RFC 4512 section 2.5.2): ``cn`` finds what ``cn;lang-ja`` holds.

    :raises ConfigError: with the line: a DN that is none, or that is there already.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.entries: list[Entry] = []
        self.dns: list[Dn] = []
        self._numbers: dict[Dn, int] = {}
        self._written: dict[bytes, int] = {}
        self._indexes: dict[str, dict[Hashable, set[int]]] = {}
        self._subtypes: dict[str, tuple[str, ...]] = {}
        descriptions: dict[str, None] = {}
        for number, record in enumerate(records):
            try:
                dn = dn_of(record.dn)
            except ValueError:
                raise ConfigError("this is not a DN (RFC 4514)", line=record.line) from None
            if not dn or self._numbers.setdefault(dn, number) != number:
                raise ConfigError("this DN is empty or stands further up already", line=record.line)
            self.entries.append(Entry(record.dn, record.attributes))
            self.dns.append(dn)
            self._written[record.dn] = number
            descriptions.update(dict.fromkeys(record.attributes))
        self._descriptions = tuple(descriptions)

    @property
    def indexed(self) -> tuple[str, ...]:
        """The attributes that have an index."""
        return tuple(self._indexes)

    def find(self, dn: bytes) -> int | None:
        """The number of the entry with this DN, however that is written."""
        number = self._written.get(dn)
        if number is None:
            try:
                number = self._numbers.get(dn_of(dn))
            except ValueError:
                return None
        return number

    def at(self, dn: Dn) -> AbstractSet[int]:
        """The number of the entry with this DN, as a set of one; no such entry: an empty set."""
        number = self._numbers.get(dn)
        return _NONE if number is None else {number}

    def subtypes(self, description: str) -> tuple[str, ...]:
        """The descriptions in the file that ``description`` means."""
        found = self._subtypes.get(description)
        if found is None:
            kind, *options = description.split(";")
            found = self._subtypes[description] = tuple(
                other
                for other in self._descriptions
                if other.split(";")[0] == kind and set(options).issubset(other.split(";")[1:])
            )
        return found

    def values(self, number: int, description: str) -> list[bytes]:
        """The values of one entry's attribute; none is an empty list."""
        attributes = self.entries[number].attributes
        return [value for name in self.subtypes(description) for value in attributes.get(name, ())]

    def select(self, number: int, names: tuple[str, ...] | None) -> Entry:
        """The entry with these attributes alone, where it has them; None: with all."""
        entry = self.entries[number]
        if names is None:
            return entry
        attributes = entry.attributes
        return Entry(
            entry.dn,
            {name: attributes[name] for asked in names for name in self.subtypes(asked) if name in attributes},
        )

    def index(self, description: str) -> Mapping[Hashable, AbstractSet[int]]:
        """Which entries hold a value, by the value under the attribute's equality rule."""
        index = self._indexes.get(description)
        if index is None:
            index = {}
            rule = rule_of(description)
            for number in range(len(self.entries)):
                for value in self.values(number, description):
                    index.setdefault(rule(value), set()).add(number)
            self._indexes[description] = index
        return index
