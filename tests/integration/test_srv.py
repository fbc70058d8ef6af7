"""A domain in place of servers: the whole daemon finds them in DNS, and lives without DNS."""

from __future__ import annotations

import asyncio
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from rig import Authority, Daemon, Slapd, article, people
from rig.fake_dns import fake_dns
from rig.loop import run
from rig.needs import need, need_root
from rig.programs import free_port

DNS = (str(IPv4Address("127.64.0.0") + os.getpid()), 53)
"""/etc/resolv.conf cannot name a port, so each run on a machine has an address: a process id has 22 bits."""
START = 'mount --bind "$1" /etc/resolv.conf; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
"""A program that has a resolver of its own."""


@pytest.fixture
def within(tmp_path: Path) -> list[str]:
    """Where the daemon asks the tests' DNS, and knows this machine by two names."""
    need_root()
    need("slapd", "slapadd", "unshare", "mount")
    resolver, hosts = tmp_path / "resolv.conf", tmp_path / "hosts"
    resolver.write_text(f"nameserver {DNS[0]}\n")
    hosts.write_text("127.0.0.1 localhost other.hoge.cxm\n")
    return ["unshare", "--mount", "sh", "-e", "-c", START, "daemon", str(resolver), str(hosts)]


async def login(daemon: Daemon, password: str = people.PENGUIN_PASSWORD) -> bytes | None:
    return await asyncio.to_thread(daemon.ask, people.PENGUIN, password)


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_the_servers_of_a_domain_are_asked_in_the_order_of_dns(
    slapd: Slapd, authority: Authority, within: list[str], scheme: str
) -> None:
    conf = article(slapd, "bind", ldap_servers=f"{scheme}:///dc=hoge,dc=cxm", failure_delay="0")
    conf["ldap_tls_cacert_file"] = str(authority.certificate)
    port = slapd.port if scheme == "ldap" else slapd.tls_port
    records = [(20, 0, port, "localhost"), (10, 0, free_port(), "localhost")]

    async def test() -> None:
        async with fake_dns(DNS, **{scheme: records}) as dns:
            with Daemon.running(conf, within=within) as daemon:
                assert await login(daemon) == b"OK"
                assert await login(daemon, "wrong") == b"NO"
                dns.silent = True  # what is known is known
                assert await login(daemon) == b"OK"
                log = daemon.log
            assert {*dns.asked} == {f"_{scheme}._tcp.hoge.cxm"}
            later, first = [f"{scheme}://localhost:{each[2]}" for each in records]
            assert f"directory server failed: {first}: " in log
            assert f"directory server failed: {later}" not in log

    run(test())


def test_a_server_that_dns_names_must_have_a_certificate_of_the_name_there(
    slapd: Slapd, authority: Authority, within: list[str]
) -> None:
    conf = article(slapd, "bind", ldap_servers="ldaps:///dc=hoge,dc=cxm")
    conf["ldap_tls_cacert_file"] = str(authority.certificate)

    async def test() -> None:
        async with fake_dns(DNS, ldaps=[(0, 0, slapd.tls_port, "other.hoge.cxm")]):
            with Daemon.running(conf, within=within) as daemon:
                assert await login(daemon) is None
                assert "its certificate is not trusted: Hostname mismatch" in daemon.log

    run(test())


def test_the_daemon_starts_without_dns_and_serves_once_there_is_dns(slapd: Slapd, within: list[str]) -> None:
    conf = article(slapd, "bind", ldap_servers="ldap:///dc=hoge,dc=cxm")

    async def test() -> None:
        async with fake_dns(DNS, ldap=[(0, 0, slapd.port, "localhost")]) as dns:
            dns.silent = True
            with Daemon.running(conf, within=within) as daemon:
                assert await login(daemon) is None
                assert daemon.logged("[reason=directory-down]")  # not the login's deadline
                dns.silent = False
                await asyncio.sleep(1.1)  # DNS is asked once a second at most
                assert await login(daemon) == b"OK"
                assert "DNS answers again" in daemon.log

    run(test())
