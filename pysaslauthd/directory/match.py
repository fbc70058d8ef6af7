"""Filters (RFC 4515) evaluated over the entries of an LDIF file.

ldap3 parses the filter once, with a mark in the place of each token; the values of a login are filled in
afterwards, as octets, so that nothing in them is syntax.

There is no schema, so every attribute type counts as known. What a server does with known types comes out: an
item is false for an entry that lacks the attribute, and ``(!(nsAccountLock=true))`` is true for it. Nothing is
Undefined (RFC 4511 section 4.5.1.7); what could be nothing else (ordering, extensible matches, substrings of a
DN or a password) is refused beforehand. Names are taken as they are written: no OIDs, no aliases, no superclasses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from typing import Any, NamedTuple

from ldap3.core.exceptions import LDAPException
from ldap3.operation import search as parser
from ldap3.protocol.convert import prepare_filter_for_sending

from pysaslauthd.directory.content import Content
from pysaslauthd.directory.rules import case_ignore, rule_of
from pysaslauthd.directory.template import Template

MAX_DEPTH = 50
"""Levels of brackets in a filter; no useful one has ten, and evaluation calls itself."""

Test = tuple[AbstractSet[int] | None, Callable[[int], bool]]
"""Which entries may match, by number, or None for any of them; and whether one of them does."""
Filter = Callable[[Content, Sequence[bytes]], Test]
"""A compiled filter: takes the entries, and the values of the template's tokens in their order."""

_MARK = "\x01"
_NONE: AbstractSet[int] = frozenset()
_ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*")


class _Assertion(NamedTuple):
    """A value with slots: octets, the value of token ``first``, octets, and so on."""

    literals: tuple[bytes, ...]
    first: int

    @property
    def constant(self) -> bool:
        return len(self.literals) == 1

    def fill(self, values: Sequence[bytes]) -> bytes:
        pieces = [self.literals[0]]
        for at, literal in enumerate(self.literals[1:], self.first):
            pieces += values[at], literal
        return b"".join(pieces)


def compile_filter(template: Template) -> Filter:
    """A filter, ready for any number of searches.

    :raises ValueError: it is no filter, or cannot be evaluated without a schema; the text says which.
    """
    if any(_MARK in literal for literal in template.literals):
        raise ValueError("it holds a control character")
    try:
        root = parser.parse_filter(_MARK.join(template.literals), None, False, False, None, False)
    except (LDAPException, AttributeError) as error:  # AttributeError: it closes more brackets than it has opened
        raise ValueError(f"it is not a filter (RFC 4515): {error}") from error
    return _Compiler().node(root.elements[0], MAX_DEPTH)


class _Compiler:
    """Goes through the parsed filter from left to right, so that the tokens are met in their order."""

    def __init__(self) -> None:
        self._tokens = 0

    def node(self, node: Any, depth: int) -> Filter:
        if depth == 0:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        tag = node.tag
        if tag in (parser.AND, parser.OR, parser.NOT):
            parts = [self.node(element, depth - 1) for element in node.elements]
            if tag == parser.NOT:
                if len(parts) != 1:
                    raise ValueError("(! …) takes one filter")
                return _not(parts[0])
            return _and(parts) if tag == parser.AND else _or(parts)
        attribute = node.assertion["attr"]
        if tag == parser.MATCH_EXTENSIBLE:
            raise ValueError("an LDIF file has no extensible matches (:=)")
        if not _ATTRIBUTE.fullmatch(attribute):
            raise ValueError("what stands before a = is not the name of an attribute (and no token can be)")
        attribute = attribute.lower()
        if tag == parser.MATCH_PRESENT:
            return _present(attribute)
        if tag == parser.MATCH_SUBSTRING:
            return self._substrings(attribute, node.assertion)
        if tag in (parser.MATCH_GREATER_OR_EQUAL, parser.MATCH_LESS_OR_EQUAL):
            raise ValueError("an LDIF file has no schema to say what >= and <= mean for a value")
        # Where a server has no approximate match for an attribute, ~= is equality: RFC 4511 section 4.5.1.7.6.
        return _equal(attribute, self._assertion(node.assertion["value"]))

    def _assertion(self, escaped: bytes) -> _Assertion:
        literals = tuple(prepare_filter_for_sending(piece) for piece in escaped.split(_MARK.encode()))
        first = self._tokens
        self._tokens += len(literals) - 1
        return _Assertion(literals, first)

    def _substrings(self, attribute: str, assertion: dict[str, Any]) -> Filter:
        if rule_of(attribute) is not case_ignore:
            raise ValueError(f"{attribute} cannot be searched for a part of its value")
        initial, final = (assertion.get(part) for part in ("initial", "final"))
        pieces = [
            self._assertion(initial or b""),
            *(self._assertion(piece) for piece in assertion.get("any", ())),
            self._assertion(final or b""),
        ]
        return _substrings(attribute, pieces)


def _and(parts: list[Filter]) -> Filter:
    def test(content: Content, values: Sequence[bytes]) -> Test:
        tests = [part(content, values) for part in parts]
        fewest = min((found for found, _ in tests if found is not None), key=len, default=None)
        return fewest, lambda number: all(check(number) for _, check in tests)

    return test


def _or(parts: list[Filter]) -> Filter:
    def test(content: Content, values: Sequence[bytes]) -> Test:
        tests = [part(content, values) for part in parts]
        found: AbstractSet[int] | None = _NONE
        for some, _ in tests:
            found = None if found is None or some is None else found | some
        return found, lambda number: any(check(number) for _, check in tests)

    return test


def _not(part: Filter) -> Filter:
    def test(content: Content, values: Sequence[bytes]) -> Test:
        _, check = part(content, values)
        return None, lambda number: not check(number)

    return test


def _present(attribute: str) -> Filter:
    def test(content: Content, _values: Sequence[bytes]) -> Test:
        return None, lambda number: bool(content.values(number, attribute))

    return test


def _equal(attribute: str, assertion: _Assertion) -> Filter:
    rule = rule_of(attribute)
    constant: Hashable = rule(assertion.literals[0]) if assertion.constant else None

    def test(content: Content, values: Sequence[bytes]) -> Test:
        wanted = constant if assertion.constant else rule(assertion.fill(values))
        found = content.index(attribute).get(wanted, _NONE)
        return found, found.__contains__

    return test


def _substrings(attribute: str, pieces: list[_Assertion]) -> Filter:
    def test(content: Content, values: Sequence[bytes]) -> Test:
        filled = [piece.fill(values) for piece in pieces]
        # A token without a value would make `(mail=%u*)` mean everybody.
        if any(not text and not piece.constant for text, piece in zip(filled, pieces, strict=True)):
            return _NONE, lambda _: False
        parts = [*_folded(filled)]
        return None, lambda number: any(
            _contains(case_ignore(value), parts) for value in content.values(number, attribute)
        )

    return test


def _folded(pieces: list[bytes]) -> Iterator[bytes]:
    """The pieces under caseIgnoreSubstringsMatch: blanks count where the value goes on (RFC 4518 section 2.6.1)."""
    last = len(pieces) - 1
    for at, piece in enumerate(pieces):
        before = b" " if at > 0 and piece[:1].isspace() else b""
        after = b" " if at < last and piece[-1:].isspace() else b""
        yield before + case_ignore(piece) + after


def _contains(value: bytes, pieces: list[bytes]) -> bool:
    initial, *middle, final = pieces
    if not value.startswith(initial):
        return False

    def after(at: int, piece: bytes) -> int:
        found = -1 if at < 0 else value.find(piece, at)
        return -1 if found < 0 else found + len(piece)

    at = reduce(after, middle, len(initial))
    return 0 <= at <= len(value) - len(final) and value.endswith(final)
