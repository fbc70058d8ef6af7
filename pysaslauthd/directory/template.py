"""Templates of the configuration: ``(mail=%U@%d)`` parsed once, expanded for each login.

Tokens (manual of saslauthd's LDAP mechanism): ``%%`` a percent sign, ``%u`` the login, ``%U`` its user part,
``%d`` its domain (else the realm), ``%1``-``%9`` the domain's labels from the right, ``%s`` the service, ``%r``
the realm (else the domain), ``%R`` ``@`` and the realm or nothing, ``%D`` the user's DN (group keys only).

A template never becomes text with a value in it unless an escaper is given: filters travel as templates of
BER (:mod:`pysaslauthd.wire.ldap`), where a value is octets and no syntax; DNs go through :func:`escape_dn`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from ldap3.utils.conv import escape_filter_chars

from pysaslauthd.model import Identity

Escape = Callable[[bytes], bytes]
"""A value as it may stand in a text: :func:`escape_dn` or :func:`escape_filter`."""

_TOKEN = re.compile(r"%(.?)", re.DOTALL)


def _label(number: int) -> Callable[[Identity, bytes], bytes]:
    def label(identity: Identity, _dn: bytes) -> bytes:
        labels = identity.domain.split(b".")
        return labels[-number] if number <= len(labels) else b""

    return label


_VALUES: dict[str, Callable[[Identity, bytes], bytes]] = {
    "u": lambda identity, _: identity.login,
    "U": lambda identity, _: identity.user,
    "d": lambda identity, _: identity.domain,
    "s": lambda identity, _: identity.service,
    "r": lambda identity, _: identity.realm_or_domain,
    "R": lambda identity, _: b"@" + identity.realm if identity.realm else b"",
    "D": lambda _, dn: dn,
    **{str(number): _label(number) for number in range(1, 10)},
}


_FIELDS = {"u": "login", "U": "user", "d": "domain", "s": "service", "r": "realm_or_domain"}
"""Tokens whose value is a field of the identity as it stands."""


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text around tokens: ``literals[0] token[0] literals[1] …``; one literal more than tokens."""

    literals: tuple[str, ...]
    tokens: tuple[str, ...]
    _pick: Callable[[Identity], tuple[bytes, ...]] | None = field(init=False, compare=False, repr=False)
    """All values in one call, where the tokens are fields: four times as fast."""
    _frame: tuple[bytes, ...] = field(init=False, compare=False, repr=False)
    """The literals' octets, with room for a value between each two."""

    def __post_init__(self) -> None:
        fields = [_FIELDS.get(token) for token in self.tokens]
        places = [Identity._fields.index(name) for name in fields if name is not None]
        object.__setattr__(self, "_pick", _picker(places) if places and len(places) == len(fields) else None)
        frame = [b""] * (2 * len(self.literals) - 1)
        frame[::2] = [literal.encode() for literal in self.literals]
        object.__setattr__(self, "_frame", tuple(frame))

    @classmethod
    def parse(cls, text: str) -> Template:
        """Cut a template at its tokens.

        :raises ValueError: a token that does not exist, or a lone ``%`` at the end; the text names it.
        """
        literals, tokens = [""], list[str]()
        end = 0
        for match in _TOKEN.finditer(text):
            literals[-1] += text[end : match.start()]
            end = match.end()
            token = match[1]
            if token == "%":
                literals[-1] += "%"
            elif token in _VALUES:
                tokens.append(token)
                literals.append("")
            else:
                raise ValueError(f"there is no token %{token} (a percent sign is written %%)")
        literals[-1] += text[end:]
        return cls(tuple(literals), tuple(tokens))

    def values(self, identity: Identity, dn: bytes = b"") -> tuple[bytes, ...]:
        """The raw value of each token, in order. Not for use in text: see :meth:`expand`."""
        if self._pick is not None:
            return self._pick(identity)
        return tuple([_VALUES[token](identity, dn) for token in self.tokens])

    def escaped_values(self, identity: Identity, dn: bytes = b"") -> tuple[bytes, ...]:
        """The value of each token for a place inside a DN; the user's own DN is one already."""
        if not self.tokens:
            return ()
        values = zip(self.tokens, self.values(identity, dn), strict=True)
        return tuple(value if token == "D" else escape_dn(value) for token, value in values)

    def expand(self, identity: Identity, escape: Escape, dn: bytes = b"") -> bytes:
        """The whole text, every value through ``escape``."""
        return self.fill([escape(value) for value in self.values(identity, dn)])

    def fill(self, values: Sequence[bytes]) -> bytes:
        """The whole text with these in the tokens' places, as they are.

        :raises ValueError: they are not as many as the tokens.
        """
        parts = [*self._frame]
        parts[1::2] = values
        return b"".join(parts)


def _picker(places: Sequence[int]) -> Callable[[Identity], tuple[bytes, ...]]:
    if len(places) == 1:  # where itemgetter makes no tuple
        [place] = places
        return lambda identity: (identity[place],)
    return itemgetter(*places)


# Everything that RFC 4514 section 2.4 gives a meaning, and all that is not printable ASCII.
_DN_SPECIAL = re.compile(rb'[^ !$-*\-./0-:?-\[\]-~]|^ | $|["+,;<=>\\#]')


def escape_dn(value: bytes) -> bytes:
    r"""A value for use inside a DN, as RFC 4514 section 2.4 writes it (``\2c`` for a comma)."""
    return _DN_SPECIAL.sub(lambda match: b"\\%02x" % match[0][0], value)


def escape_filter(value: bytes) -> bytes:
    r"""A value for use inside a filter's text, as RFC 4515 section 3 writes it (``\2a`` for ``*``)."""
    escaped: str = escape_filter_chars(value)
    return escaped.encode()
