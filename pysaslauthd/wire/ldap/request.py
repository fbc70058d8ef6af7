"""LDAP requests (RFC 4511) as templates of ldap3's own encoding.

Building one request with ldap3 costs 200 µs, and a login needs one or two. So ldap3 encodes each *shape* of
request once, and the octets are kept with holes in them. A shape is a request with the lengths of its values.
Its holes are found by encoding it twice with different fillers, ``aaaa`` and ``bbbb``: the octets that differ
are the holes. Every messageID takes four octets, so that its own length never changes. A request is then one
``bytes.join``; the octets are those ldap3 would have written, no length is computed here, and a value never
passes through filter text, so there is nothing to escape and nothing to inject.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ldap3 import ANONYMOUS, BASE, LEVEL, SASL, SIMPLE, SUBTREE
from ldap3.core.exceptions import LDAPException
from ldap3.operation.abandon import abandon_operation
from ldap3.operation.bind import bind_operation
from ldap3.operation.compare import compare_operation
from ldap3.operation.extended import extended_operation
from ldap3.operation.search import search_operation
from ldap3.operation.unbind import unbind_operation
from ldap3.protocol.controls import build_control
from ldap3.protocol.convert import build_controls_list
from ldap3.protocol.rfc4511 import LDAPMessage, MessageID, ProtocolOp
from ldap3.utils.asn1 import encode
from pyasn1.error import PyAsn1Error

FIRST_ID = 0x01000000
"""The first messageID: from here to LAST_ID every one takes four octets."""
LAST_ID = 0x7FFFFFFF
"""RFC 4511 section 4.1.1.1: maxInt."""

MAX_SHAPES = 2048
"""Shapes kept for each template, about 1 kB each; the least recently used goes first."""

START_TLS = "1.3.6.1.4.1.1466.20037"
"""RFC 4511 section 4.14."""
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
"""RFC 4532."""
PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
"""draft-behera-ldap-password-policy, the control on a bind and on its answer."""

NO_ATTRIBUTES = ("1.1",)
"""RFC 4511 section 4.5.1.8: the DN alone."""

_SCOPES = {"base": BASE, "one": LEVEL, "sub": SUBTREE}
_DEREFS = {"never": 0, "search": 1, "find": 2, "always": 3}

_OPERATIONS = {
    "BindRequest": "bindRequest",
    "UnbindRequest": "unbindRequest",
    "SearchRequest": "searchRequest",
    "CompareRequest": "compareRequest",
    "ExtendedRequest": "extendedReq",
    "AbandonRequest": "abandonRequest",
}


class UnencodableError(ValueError):
    """Values that make no request. Never holds any of them."""


class Control(NamedTuple):
    """A request control (RFC 4511 section 4.1.11)."""

    oid: str
    critical: bool = False
    value: bytes | None = None


def _encode(operation: Any, message_id: int, controls: Sequence[Control] = ()) -> bytes:
    message = LDAPMessage()
    message["messageID"] = MessageID(message_id)
    name = _OPERATIONS[type(operation).__name__]
    message["protocolOp"] = ProtocolOp().setComponentByName(name, operation)
    if controls:
        message["controls"] = build_controls_list(
            [
                build_control(control.oid, control.critical, control.value, encode_control_value=False)
                for control in controls
            ]
        )
    encoded: bytes = encode(message)
    return encoded


class RequestTemplate:
    """A request with holes for the messageID and for some values.

    :param build: makes ldap3's operation from one text per value, ``len(values)`` of them.
    :param controls: sent with every request.
    """

    def __init__(self, build: Callable[[list[str]], Any], controls: Sequence[Control] = ()) -> None:
        self._build = build
        self._controls = controls
        self._shape = functools.lru_cache(maxsize=MAX_SHAPES)(self._find_holes)

    def encode(self, message_id: int, values: Sequence[bytes]) -> bytes:
        """The request's octets.

        :param message_id: FIRST_ID to LAST_ID.
        :raises UnencodableError: ldap3 cannot build a request with values of these lengths.
        """
        octets = [*self._shape(*map(len, values))]
        octets[1] = message_id.to_bytes(4, "big")
        octets[3::2] = [value for value in values if value] if b"" in values else values
        return b"".join(octets)

    def _find_holes(self, *lengths: int) -> tuple[bytes, ...]:
        """Octets and holes in turn, beginning and ending with octets; a hole is an empty string here."""
        filled = [length for length in lengths if length]
        first = self._encode_with("a", FIRST_ID, lengths)
        second = self._encode_with("b", 0x02020202, lengths)
        differing = [at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other]
        pieces: list[bytes] = []
        end = taken = 0
        for length in [4, *filled]:
            hole = differing[taken : taken + length]
            taken += length
            if len(hole) != length or hole[-1] - hole[0] != length - 1:
                raise UnencodableError("a value does not stand in the request as it is")
            pieces += [first[end : hole[0]], b""]
            end = hole[-1] + 1
        if taken != len(differing):
            raise UnencodableError("a value stands in the request more often than in the template")
        return (*pieces, first[end:])

    def _encode_with(self, filler: str, message_id: int, lengths: Sequence[int]) -> bytes:
        try:
            return _encode(self._build([filler * length for length in lengths]), message_id, self._controls)
        except LDAPException as error:
            raise UnencodableError(str(error)) from error
        except PyAsn1Error:  # whose text is the whole schema
            raise UnencodableError("ldap3 cannot encode this request") from None


def search_template(
    base: Sequence[str],
    filter_: Sequence[str],
    *,
    scope: str,
    attributes: Sequence[str],
    deref: str = "never",
    size_limit: int = 0,
    time_limit: int = 0,
    controls: Sequence[Control] = (),
) -> RequestTemplate:
    """A search (RFC 4511 section 4.5.1); its values are those of the base, then those of the filter.

    :param base: the base DN's literal parts, a hole between each two.
    :param filter_: the filter's literal parts (RFC 4515 text), likewise.
    :raises UnencodableError: the filter is not valid.
    """
    holes = len(base) - 1

    def build(values: list[str]) -> Any:
        for before, value, after in zip(filter_, values[holes:], filter_[1:], strict=False):
            if not value and (before.endswith("*") or after.startswith("*")):
                raise UnencodableError("an empty value would turn a substring filter into a presence filter")
        return search_operation(
            _weave(base, values[:holes]),
            _weave(filter_, values[holes:]),
            _SCOPES[scope],
            _DEREFS[deref],
            list(attributes or NO_ATTRIBUTES),
            size_limit,
            time_limit,
            types_only=False,
            auto_escape=False,
            auto_encode=False,
        )

    template = RequestTemplate(build, controls)
    # Two octets: only then does a backslash before a hole show, as an escape that would swallow the value.
    template.encode(FIRST_ID, [b"xx"] * (len(base) + len(filter_) - 2))
    return template


def _weave(literals: Sequence[str], values: Sequence[str]) -> str:
    return literals[0] + "".join(value + literal for value, literal in zip(values, literals[1:], strict=True))


def simple_bind_template(version: int = 3, controls: Sequence[Control] = ()) -> RequestTemplate:
    """A simple bind (RFC 4513 section 5.1.3); its values are the DN and the password, neither empty."""

    def build(values: list[str]) -> Any:
        # ldap3 prepares a text (SASLprep) but leaves octets alone.
        return bind_operation(version, SIMPLE, values[0], values[1].encode())

    return RequestTemplate(build, controls)


def compare_template(attribute: str) -> RequestTemplate:
    """A compare (RFC 4511 section 4.10); its values are the entry's DN and the asserted value."""

    def build(values: list[str]) -> Any:
        return compare_operation(values[0], attribute, values[1], auto_encode=False)

    return RequestTemplate(build)


def anonymous_bind(message_id: int, version: int = 3) -> bytes:
    """An anonymous bind (RFC 4513 section 5.1.1)."""
    return _encode(bind_operation(version, ANONYMOUS), message_id)


def sasl_bind(message_id: int, mechanism: str, credentials: bytes | None, controls: Sequence[Control] = ()) -> bytes:
    """A SASL bind of one step (RFC 4513 section 5.2): EXTERNAL or PLAIN."""
    return _encode(bind_operation(3, SASL, "", None, mechanism, credentials), message_id, controls)


def extended(message_id: int, oid: str) -> bytes:
    """An extended request without a value (RFC 4511 section 4.12)."""
    return _encode(extended_operation(oid), message_id)


def abandon(message_id: int, abandoned: int) -> bytes:
    """Tell the server that an answer is wanted no more (RFC 4511 section 4.11)."""
    return _encode(abandon_operation(abandoned), message_id)


def unbind(message_id: int) -> bytes:
    """The polite end of a connection (RFC 4511 section 4.3)."""
    return _encode(unbind_operation(), message_id)
