from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.config.uri import SERVERS, ServerUri, server_of


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path"),
    [
        ("ldap://ldap.hoge.cxm", "ldap", "ldap.hoge.cxm", 389, ""),
        ("ldap://ldap.hoge.cxm/", "ldap", "ldap.hoge.cxm", 389, ""),
        ("LDAPS://ldap.hoge.cxm/", "ldaps", "ldap.hoge.cxm", 636, ""),
        ("ldaps://10.1.1.2:999/", "ldaps", "10.1.1.2", 999, ""),
        ("ldap://", "ldap", "localhost", 389, ""),
        ("ldap:///", "ldap", "localhost", 389, ""),
        ("ldap://:3890", "ldap", "localhost", 3890, ""),
        ("ldap://[2001:db8::1]/", "ldap", "2001:db8::1", 389, ""),
        ("ldap://[fe80::1%25eth0]:3890", "ldap", "fe80::1%eth0", 3890, ""),
        ("ldapi:///", "ldapi", "", 0, "/var/run/slapd/ldapi"),
        ("ldapi://%2Frun%2Fslapd%2fldapi", "ldapi", "", 0, "/run/slapd/ldapi"),
        ("ldapi://%2Frun%2Fslapd/", "ldapi", "", 0, "/run/slapd"),
        ("ldif:///srv/people.ldif", "ldif", "", 0, "/srv/people.ldif"),
        ("ldif:///srv/my%20people.ldif", "ldif", "", 0, "/srv/my people.ldif"),
    ],
)
def test_a_uri_is_read(text: str, scheme: str, host: str, port: int, path: str) -> None:
    assert server_of(text)[:5] == (scheme, host, port, path, text)


def test_what_follows_the_slash_is_kept_apart() -> None:
    assert server_of("ldap://ldap.hoge.cxm/ou=People,dc=hoge%2Cdc=cxm").base == "ou=People,dc=hoge,dc=cxm"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("ldap:///dc=hoge,dc=cxm", "hoge.cxm"),
        ("ldaps:///ou=People,DC=hoge , Dc = cxm", "hoge.cxm"),
        ("ldap:///ou=a%2Cb,dc=cxm??sub", "cxm"),
        ("ldap:///dc=x,ou=People,dc=hoge-1,dc=cxm", "hoge-1.cxm"),
        ("ldap:///dc%3Dhoge%2Cdc%3Dcxm", "hoge.cxm"),
        ("ldap://ldap.hoge.cxm/dc=hoge,dc=cxm", ""),
        ("ldap:///", ""),
    ],
)
def test_a_dn_without_a_host_is_a_domain(text: str, domain: str) -> None:
    server = server_of(text)
    assert server.domain == domain
    assert bool(server.host) is not bool(domain)
    assert server.local is (not domain and "hoge" not in server.host)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.1.1.2", "is not a URI; write ldap://host/"),
        ("ldap:/host", "is not a URI"),
        ("http://host/", "'http' is none of ldap, ldaps, ldapi, ldif"),
        ("ldap:///ou=People", "names no host, and no DN that ends in dc="),
        ("ldap:///dc=hoge,o=cxm", "names no host, and no DN that ends in dc="),
        ("ldap:///dc=hoge.cxm", "names no host, and no DN that ends in dc="),
        ("ldap:///dc=-,dc=cxm", "names no host, and no DN that ends in dc="),
        ("ldap:///xdc=cxm", "names no host, and no DN that ends in dc="),
        ("ldap:///ou=a\\,dc=cxm", "names no host, and no DN that ends in dc="),
        ("ldap:///dc=hoge+ou=x,dc=cxm", "names no host, and no DN that ends in dc="),
        ("ldap://host:/", "is not host, host:port"),
        ("ldap://host:0/", "0 is not a port"),
        ("ldap://host:65536/", "65536 is not a port"),
        ("ldap://user@host/", "is not host, host:port"),
        ("ldap://ho st/", "is not host, host:port"),
        ("ldap://::1/", "is not host, host:port"),
        ("ldap://[localhost]/", "is not an IPv6 address"),
        ("ldap://[::1%00]/", "NUL"),
        ("ldapi:///run/slapd/ldapi", "with %2F for each slash"),
        ("ldapi://run", "with %2F for each slash"),
        ("ldapi://%2F" + "a" * 107, "at most 107 bytes"),
        ("ldapi://%2Frun%00", "NUL"),
        ("ldif://people.ldif", "write ldif:///path/of/file.ldif"),
        ("ldif:///", "write ldif:///path/of/file.ldif"),
    ],
)
def test_a_bad_uri_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        server_of(text)


# As libldap 2.5 takes them apart.
@pytest.mark.parametrize("between", [" ", "  ", ",", ", ", "\t"])
def test_servers_are_separated_by_blanks_or_commas(between: str) -> None:
    servers = SERVERS.read(f" ldap://a{between}ldaps://b:99/{between}".encode())
    assert [(server.host, server.port) for server in servers] == [("a", 389), ("b", 99)]


def test_a_comma_in_a_path_separates_nothing() -> None:
    assert [server.path for server in SERVERS.read(b"ldif:///srv/a,b c.ldif")] == ["/srv/a,b c.ldif"]


def test_an_ldif_file_stands_alone() -> None:
    with pytest.raises(ValueError, match="stands alone"):
        SERVERS.read(b"ldap://a ldif:///srv/people.ldif")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("ldap:///", True),
        ("ldap://LocalHost/", True),
        ("ldap://127.8.0.1/", True),
        ("ldap://[::1]/", True),
        ("ldapi:///", True),
        ("ldif:///srv/people.ldif", True),
        ("ldap://10.0.0.1/", False),
        ("ldap://localhost.hoge.cxm/", False),
    ],
)
def test_a_server_on_this_machine_is_known(text: str, local: bool) -> None:
    assert server_of(text).local is local


PIECES = st.sampled_from(
    [
        "ldap",
        "ldaps",
        "ldapi",
        "ldif",
        "://",
        ":",
        "/",
        "[",
        "]",
        "%2F",
        "%00",
        "%",
        "?",
        ",",
        " ",
        "host",
        "::1",
        "389",
        "é",
    ]
)


@given(st.one_of(st.binary(), st.lists(PIECES).map(lambda pieces: "".join(pieces).encode())))
def test_any_bytes_give_servers_or_value_error(value: bytes) -> None:
    try:
        servers = SERVERS.read(value)
    except ValueError:
        return
    assert servers
    for server in servers:
        assert isinstance(server, ServerUri)
        assert bool(server.host) == (server.scheme in ("ldap", "ldaps")) == bool(server.port)
        assert server.path.startswith("/") == (server.scheme in ("ldapi", "ldif"))
