"""Servers by SRV records: what is asked of DNS, in what order its answer is tried, what is said where there is none."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from pysaslauthd.config.uri import server_of
from pysaslauthd.directory import srv as module
from pysaslauthd.directory.srv import Lookup
from pysaslauthd.errors import ConfigError, DirectoryDown
from rig.fake_dns import fake_dns
from rig.loop import run

DOMAIN = server_of("ldap:///dc=hoge,dc=cxm")


def test_the_records_of_a_domain_are_its_servers_in_the_order_of_their_priorities() -> None:
    async def test() -> None:
        records = [(20, 0, 389, "c.hoge.cxm"), (10, 0, 3890, "A.hoge.cxm"), (30, 0, 389, "b.hoge.cxm")]
        async with fake_dns(ldap=records, ldaps=[(0, 0, 636, "s.hoge.cxm")]) as dns:
            found = await Lookup(DOMAIN, dns.resolver).servers(2)
            assert [server.text for server in found.servers] == [
                "ldap://A.hoge.cxm:3890",
                "ldap://c.hoge.cxm:389",
                "ldap://b.hoge.cxm:389",
            ]
            assert found.seconds == 300
            assert {(server.scheme, server.domain, server.local) for server in found.servers} == {("ldap", "", False)}
            secure = await Lookup(server_of("ldaps:///ou=People,dc=hoge,dc=cxm"), dns.resolver).servers(2)
            assert [server[:3] for server in secure.servers] == [("ldaps", "s.hoge.cxm", 636)]
            assert dns.asked == ["_ldap._tcp.hoge.cxm", "_ldaps._tcp.hoge.cxm"]

    run(test())


def test_among_equals_the_weights_decide_how_often_each_is_first() -> None:
    async def test() -> None:
        async with fake_dns(ldap=[(10, 90, 1, "heavy"), (10, 10, 2, "light"), (20, 99, 3, "last")]) as dns:
            first: Counter[str] = Counter()
            for _ in range(300):
                servers = (await Lookup(DOMAIN, dns.resolver).servers(2)).servers
                assert servers[2].host == "last"
                first[servers[0].host] += 1
            assert first["heavy"] > first["light"] > 0

    run(test())


def test_of_many_servers_the_preferred_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERVERS", 2)

    async def test() -> None:
        async with fake_dns(ldap=[(number, 0, 389, f"s{number}") for number in range(5)]) as dns:
            dns.ttl = 1
            found = await Lookup(DOMAIN, dns.resolver).servers(2)
            assert [server.host for server in found.servers] == ["s0", "s1"]
            assert found.seconds == module.LEAST_TTL

    run(test())


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (None, "does not exist"),
        ([], "does not contain an answer"),
        ([(0, 0, 0, "")], "the domain has no such service"),
    ],
)
def test_where_there_is_no_server_that_is_said(records: list[tuple[int, int, int, str]] | None, says: str) -> None:
    async def test() -> None:
        async with fake_dns(**({} if records is None else {"ldap": records})) as dns:
            with pytest.raises(DirectoryDown, match=says) as down:
                await Lookup(DOMAIN, dns.resolver).servers(2)
            assert str(down.value).startswith("ldap:///dc=hoge,dc=cxm: DNS, _ldap._tcp.hoge.cxm: ")

    run(test())


def test_dns_that_says_nothing_is_given_up_in_time() -> None:
    async def test() -> None:
        async with fake_dns() as dns:
            dns.silent = True
            with pytest.raises(DirectoryDown, match="lifetime expired"):
                await Lookup(DOMAIN, dns.resolver).servers(0.2)

    run(test())


def test_without_dnspython_it_is_refused_and_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    with pytest.raises(ConfigError, match=r"ldap_servers: ldap:///dc=hoge,dc=cxm .* install pysaslauthd\[srv\]"):
        Lookup(DOMAIN)
