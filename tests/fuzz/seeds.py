"""Where fuzzing starts from: for each target some inputs that it takes, and those that once broke it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

import pysaslauthd
from pysaslauthd.config import KEYS
from rig import ldap_messages as messages
from rig import people

FOUND = Path(__file__).parent / "found"
"""A folder for each target, with the inputs that once broke it."""

_DEMO = Path(pysaslauthd.__file__).parent / "demo"
_ID = 0x01020304
_PLAIN = b64encode(b"\0penguin@hoge.cxm\0penguin-pass")


def seeds(target: str) -> list[bytes]:
    """All of a target's."""
    kept = sorted((FOUND / target).glob("*")) if (FOUND / target).is_dir() else []
    return [*_SEEDS[target](), *(path.read_bytes() for path in kept)]


def _counted(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def _mux() -> Iterable[bytes]:
    yield _counted(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm")
    yield _counted(b"penguin@hoge.cxm", b"x" * 300, b"", b"", b"192.0.2.1;4567")
    yield _counted(b"OK")
    yield _counted(b"NO because")


def _dovecot() -> Iterable[bytes]:
    hello = b"\x07VERSION\t1\t2\nCPID\t7\n"
    yield hello + b"AUTH\t1\tPLAIN\tservice=smtp\trip=192.0.2.1\tlip=::1\tsecured\tresp=%b\n" % _PLAIN
    login = b"AUTH\t2\tLOGIN\tservice=smtp\tsession=a\x01tb\nCONT\t2\t%b\nCONT\t2\t%b\n"
    yield hello + login % (b64encode(b"penguin"), b64encode(b"x"))
    yield b"\x8fAUTH\t3\tPLAIN\tresp=\nCONT\t3\t%b\nCANCEL\t3\nAUTH\t3\tPLAIN\tresp==\n" % _PLAIN
    yield b"\xff" + b"".join(b"AUTH\t%d\tPLAIN\tresp=%b\n" % (number, _PLAIN) for number in range(1, 25))


def _ldap() -> Iterable[bytes]:
    policy = {"1.3.6.1.4.1.42.2.27.8.5.1": b"\x30\x03\x81\x01\x01", "2.16.840.1.113730.3.4.4": b"0"}
    uris = ["ldap://b.hoge.cxm/dc=hoge??sub", "ldaps://c.hoge.cxm/"]
    entry = messages.entry(
        _ID, people.PENGUIN_DN, {"userPassword": [b"{SSHA}x", b"\xff\0"], "MAIL": [], "cn;x": [b"P"]}
    )
    yield entry + messages.result("search", _ID, 0)
    yield entry + messages.reference(_ID, *uris) + messages.result("search", _ID, 0)
    yield messages.result("bind", _ID, 49, "wrong", controls=policy)
    yield messages.result("bind", _ID, 10, "elsewhere", uris)
    yield messages.result("extended", _ID, 0, response_name="1.2.3", response_value="dn:cn=x")
    yield messages.result("compare", _ID, 6)
    yield messages.disconnection()
    yield messages.HUGE_LENGTH
    yield messages.GARBAGE
    yield b"\x30\x06\xa0\x04\x80\x02\x01\x00"
    yield b"\xa1\x0f\x80\x01\xff\x81\x01\x00\x82\x01\x00\x83\x01\x01\x84\x01\x05"


def _ldif() -> Iterable[bytes]:
    yield people.tree(2).encode()
    yield (_DEMO / "people.ldif").read_bytes()
    yield b"version: 1\n\n# a comment\n that goes on\r\ndn:: dWlkPXg=\r\ncn;lang-de:  x\n  y\nmail:\n"


def _config() -> Iterable[bytes]:
    yield (_DEMO / "saslauthd.conf").read_bytes()
    yield b"".join(b"%b: %b\n" % (name.encode(), str(key.default or "x").encode()) for name, key in KEYS.items())
    yield b"ldap_servers: ldaps://[::1]:636/ ldapi://%2Frun%2Fx, ldap://a.hoge.cxm/dc=hoge,dc=cxm\nldap_start_tls: no\n"
    yield b"ldap_search_base: uid=%U,ou=%d,%1%2%9%s%r%R%%\nldap_filter: (&(a=b)(|(mail=%U@%d)(!(c=*))))\n"
    yield b"ldap_auth_method: fastbind\nldap_filter: uid=%u,ou=People\nldap_group_dn: cn=x\nldap_group_attr: member\n"
    yield b"ldap_use_sasl: on\nldap_mech: PLAIN\nldap_id: x\nldap_group_match_method: filter\nldap_group_filter: a=%D\n"
    yield b"trusted_networks: 192.0.2.0/24 ::1\nfailure_delay: 0\n\xef\xbb\xbf\r\nlog_level: 10\nldap_fliter: (x=y)\n"


_SEEDS = {"mux": _mux, "dovecot": _dovecot, "ldap": _ldap, "ldif": _ldif, "config": _config}
