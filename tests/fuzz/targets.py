"""What is fuzzed: a function for each parser. It takes any bytes, and raises where the parser breaks its word."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator

from pysaslauthd.config import parse as parse_conf
from pysaslauthd.directory.content import Content
from pysaslauthd.directory.interface import Query
from pysaslauthd.directory.referral import target_of
from pysaslauthd.directory.rules import dn_of, rule_of
from pysaslauthd.directory.template import Template, escape_dn
from pysaslauthd.errors import ConfigError, ProtocolError
from pysaslauthd.model import AuthRequest, Outcome, Reason, identify
from pysaslauthd.wire import ldif as wire_ldif
from pysaslauthd.wire import mux as wire_mux
from pysaslauthd.wire.dovecot_session import Ask, Close, Send, Session
from pysaslauthd.wire.ldap import controls, request, response
from pysaslauthd.wire.ldap.shape import Shapes
from pysaslauthd.wire.ldif import Record

_REASONS = tuple(Reason)
_SOMEBODY = identify(AuthRequest(b"penguin@hoge.cxm", b"x"))


def mux(data: bytes) -> None:
    """A request: its octets are those that its fields encode to, and less of it is no other request."""
    with contextlib.suppress(ProtocolError):
        parsed = wire_mux.parse(data)
        if parsed is None:
            assert len(data) < wire_mux.MAX_REQUEST + 2
        else:
            found, end = parsed
            encoded = wire_mux.encode_request(found)
            assert data[:end] in (encoded, encoded + b"\0\0"), "not the octets that came"
            four = wire_mux.encode_request(found._replace(remote=b""))
            assert wire_mux.parse(data[: len(four) - 1]) is None
            assert wire_mux.parse(four) == (found._replace(remote=b""), len(four))
    with contextlib.suppress(ProtocolError):
        text = wire_mux.decode_reply(data)
        assert text is None or len(text) >= 2


def dovecot(data: bytes) -> None:
    """A connection: the pieces that the octets come in change nothing, and each request has one answer at most.

    The first octet chooses the length of the pieces and whether a greeting comes before the rest.
    """
    how, rest = (data[0], data[1:]) if data else (0, b"")
    if how & 0x80:
        rest = b"VERSION\t1\t%d\nCPID\t7\n" % (how >> 5 & 3) + rest
    whole = _talk([rest])
    size = (how & 0x1F) + 1
    pieces = [rest[at : at + size] for at in range(0, min(len(rest), 4096), size)]
    assert _talk(pieces) == (whole if len(rest) <= 4096 else _talk([rest[:4096]]))


def _talk(pieces: Iterable[bytes]) -> list[object]:
    session = Session(pid=1, cuid=2, cookie="0" * 32, default_realm=b"hoge.cxm")
    said: list[object] = []
    asked: list[Ask] = []
    for piece in pieces:
        if session.closed:
            break
        for event in session.receive(piece, 0.0):
            match event:
                case Send(sent):
                    _check_lines(sent)
                    said.append(sent)
                case Ask():
                    asked.append(event)
                    said.append((event.id, event.request))
                case Close(reason):
                    assert reason.isprintable()
                    said.append(reason)
    for number, ask in enumerate(asked):
        answer = session.answer(ask, Outcome(_REASONS[number % len(_REASONS)]))
        _check_lines(answer)
        assert session.answer(ask, Outcome(Reason.OK)) == b"", "answered twice"
        said.append(answer)
    return said


def _check_lines(sent: bytes) -> None:
    for line in sent.splitlines(keepends=True):
        assert line.endswith(b"\n")
        assert line.startswith((b"OK\t", b"FAIL\t", b"CONT\t", b"CANCELLED\t"))
        assert len(line) <= 8192, "longer than Exim reads"


def ldap(data: bytes) -> None:
    """What a server sends: messages are cut, decoded and read, or refused; at one glance as element by element."""
    start = 0
    shapes = Shapes()
    with contextlib.suppress(ProtocolError):
        while (end := response.split(data, start)) and end <= len(data):
            assert end > start
            decoded = response.decode(data[start:end])
            for _ in range(2 if end < len(data) else 0):  # the second time it is known
                if whole := shapes.read(data, start, end):
                    assert whole[:2] == (decoded.message_id, response.entry(decoded))
            start = end
            assert type(decoded.message_id) is int
            for read in (response.entry, response.result, response.references, response.extended_value):
                with contextlib.suppress(ProtocolError):
                    _check_octets(read(decoded))
            with contextlib.suppress(ProtocolError):
                for uri in response.references(decoded):
                    with contextlib.suppress(ValueError):
                        target_of(uri)
            with contextlib.suppress(ProtocolError):
                for value in response.controls(decoded).values():
                    _read_control(value)
    _read_control(data)


def _check_octets(value: object) -> None:
    match value:
        case tuple() | list():
            for part in value:
                _check_octets(part)
        case dict():
            for name, part in value.items():
                assert type(name) is str
                _check_octets(part)
        case _:
            assert type(value) in (bytes, str, int), type(value)


def _read_control(value: bytes) -> None:
    for read in (controls.password_policy, controls.usability):
        with contextlib.suppress(ProtocolError):
            read(value)


def ldif(data: bytes) -> None:
    """A file: what was read and is written again is read as the same."""
    with contextlib.suppress(ConfigError):
        records = list(wire_ldif.parse(data))
        again = [(each.dn, each.attributes) for each in wire_ldif.parse(_written(records))]
        assert again == [(each.dn, each.attributes) for each in records]
        content = Content(records)
        for number, entry in enumerate(content.entries):
            assert content.find(entry.dn) == number
            for description, values in entry.attributes.items():
                rule, index = rule_of(description), content.index(description)
                assert all(number in index[rule(value)] for value in values)


def _written(records: Iterable[Record]) -> bytes:
    def lines() -> Iterator[bytes]:
        for record in records:
            yield b"dn:: " + b64encode(record.dn)
            for description, values in record.attributes.items():
                for value in values:
                    yield b"%b:: %b" % (description.encode(), b64encode(value))
            yield b""

    return b"\n".join(lines())


def config(data: bytes) -> None:
    """saslauthd.conf: settings that can be used, or an error of one line; no password in what is said."""
    secret = b"Tr0ub4dor&3"
    data = b"ldap_password: " + secret + b"\n" + data
    try:
        loaded = parse_conf(data, "saslauthd.conf")
    except ConfigError as error:
        _check_said(str(error), secret)
        return
    for warning in loaded.warnings:
        _check_said(warning, secret)
    settings = loaded.settings
    _check_said(repr(settings), secret)
    with contextlib.suppress(ValueError):
        template = Template.parse(settings.filter)
        dn = Template.parse(settings.search_base).expand(_SOMEBODY, escape_dn)
        with contextlib.suppress(ValueError):
            dn_of(dn)
        query = Query(Template.parse(settings.search_base), template, settings.scope, (settings.password_attr,))
        search = request.search_template(
            query.base.literals, query.filter.literals, scope=query.scope, attributes=query.attributes
        )
        with contextlib.suppress(request.UnencodableError):
            values = query.base.escaped_values(_SOMEBODY, b"") + query.filter.values(_SOMEBODY, b"")
            search.encode(request.FIRST_ID, values)


def _check_said(text: str, secret: bytes) -> None:
    assert secret.decode() not in text
    assert "\n" not in text


TARGETS: dict[str, Callable[[bytes], None]] = {
    "mux": mux,
    "dovecot": dovecot,
    "ldap": ldap,
    "ldif": ldif,
    "config": config,
}
"""Every target by its name."""
