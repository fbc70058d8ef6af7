"""The saslauthd mux protocol: counted strings and requests, both directions.

A request is the counted strings login, password, service, realm, and from newer clients (libsasl2's
unreleased master, nginx-auth-saslauthd, pam_saslauthd) a fifth, the remote address. A counted string is
an unsigned 16-bit big-endian length and that many octets. A reply is one counted string that begins with
``OK`` or ``NO``. One connection carries one request and its reply.

No client marks the end of a request, so a server must answer after four strings: a fifth is taken where
it is there already, and never waited for.
"""

from __future__ import annotations

from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import AuthRequest, Peer

MAX_REQUEST = 16384
"""Most octets of a request, counts included. libsasl2 sends at most 8192 in all; twice that leaves room for
clients that pass tokens and assertions as passwords, and is still read in one call."""

LARGEST_ANNOUNCED = 5 * (2 + 0xFFFF)
"""Octets of the largest request that the format can express."""

MAX_REPLY = 2 + 0xFFFF
"""Octets of the largest reply that the format can express."""

OK = b"\x00\x02OK"
"""The reply to an accepted login: these very octets, since some clients compare the whole text."""

NO = b"\x00\x02NO"
"""The reply to a rejected login."""

_LOCAL, _SECURED, _SESSION = AuthRequest(b"", b"")[7:]
"""The rest of a request, of which this protocol knows nothing."""


def parse(data: bytes, peer: Peer | None = None) -> tuple[AuthRequest, int] | None:
    """Read a request from all octets that a client has sent so far.

    :param data: everything received on the connection, from its first octet.
    :param peer: the process at the other end, passed on into the request.
    :returns: None while octets of the first four strings are missing, else the request and the number of octets
        that it is made of; what follows them is part of a fifth string that has not arrived whole, or is not of
        this protocol at all.
    :raises ProtocolError: the first four strings announce more than MAX_REQUEST octets, whether or not
        they have arrived: nothing needs to be read to refuse them.
    """
    size = len(data)
    end = 0
    try:  # each name is where that string ends
        login = end = 2 + (data[0] << 8 | data[1])
        password = end = end + 2 + (data[end] << 8 | data[end + 1])
        service = end = end + 2 + (data[end] << 8 | data[end + 1])
        realm = end = end + 2 + (data[end] << 8 | data[end + 1])
    except IndexError:  # a count is missing
        size = -1
    if end > MAX_REQUEST:
        raise ProtocolError(f"request of {end} octets or more, the limit is {MAX_REQUEST}")
    if end > size:
        return None
    remote = b""
    if end != size:
        start = end + 2
        if start <= size and (after := start + (data[end] << 8 | data[end + 1])) <= size:
            remote = data[start:after]
            end = after
    fields = (
        data[2:login],
        data[login + 2 : password],
        data[password + 2 : service],
        data[service + 2 : realm],
        remote,
        "mux",
        peer,
        _LOCAL,
        _SECURED,
        _SESSION,
    )
    # Not AuthRequest(…), which is a call of Python.
    return tuple.__new__(AuthRequest, fields), end


def encode_request(request: AuthRequest) -> bytes:
    """The octets that a client sends; with the fifth string only where ``remote`` is not empty.

    :raises ProtocolError: a field is longer than a count can say (65535 octets).
    """
    fields = [request.login, request.password, request.service, request.realm]
    if request.remote:
        fields.append(request.remote)
    if any(len(field) > 0xFFFF for field in fields):
        raise ProtocolError("a field is longer than 65535 octets")
    return b"".join([len(field).to_bytes(2, "big") + field for field in fields])


def decode_reply(data: bytes) -> bytes | None:
    """The text of a reply, without its count: ``OK`` or ``NO``, perhaps with a space and more after it.

    :param data: everything received so far.
    :returns: the text, or None while octets are missing.
    :raises ProtocolError: the reply is too short to hold a verdict.
    """
    if len(data) < 2:
        return None
    end = 2 + int.from_bytes(data[:2], "big")
    if end < 4:
        raise ProtocolError("reply without a verdict")
    return data[2:end] if len(data) >= end else None
