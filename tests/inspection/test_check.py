"""What the walk over a configuration meets rarely: domains, and files that change while it looks."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from pysaslauthd.directory.srv import Lookup
from pysaslauthd.inspection import settings
from pysaslauthd.inspection.check import check
from pysaslauthd.inspection.step import Result, Step
from rig import people
from rig.fake_dns import fake_dns
from rig.fake_ldap import FakeLdap
from rig.ldap_table import PEOPLE
from rig.loop import run
from rig.programs import folder
from rig.saslauthd import conf_text

DOMAIN = "ldap:///dc=hoge,dc=cxm"


def configuration(at: Path, servers: str) -> Path:
    file = at / "saslauthd.conf"
    file.touch(0o600)
    file.write_text(conf_text({"ldap_servers": servers, "ldap_search_base": people.PEOPLE, "ldap_filter": "(mail=%u)"}))
    return file


async def steps(config: Path) -> list[Step]:
    return [step async for step in check(config, config.parent)]


def test_a_domain_is_looked_up_and_each_of_its_servers_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> list[Step]:
        async with fake_dns(ldap=[(0, 0, one.port, "127.0.0.1"), (1, 0, other.port, "127.0.0.1")]) as dns:
            monkeypatch.setattr(Lookup.__init__, "__defaults__", (dns.resolver,))
            return await steps(config)

    config = configuration(tmp_path, DOMAIN)
    with FakeLdap(PEOPLE) as one, FakeLdap(PEOPLE) as other:
        found = run(test())
        looked_up = next(step for step in found if step.what == "DNS")
        assert (looked_up.subject, looked_up.result) == (DOMAIN, Result.OK)
        assert looked_up.detail == f"_ldap._tcp.hoge.cxm: {one.uri}, {other.uri}"
        assert [step.subject for step in found if step.what == "connect"] == [one.uri, other.uri]


def test_a_name_service_that_is_late_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, late, ended = threading.Event(), threading.Event(), threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        asked.set()
        late.wait()
        threading.Timer(0, ended.set).start()
        return []

    async def test() -> list[Step]:
        found = []
        async for step in check(config, tmp_path):
            found.append(step)
            if step.what == "address":
                await asyncio.to_thread(asked.wait)  # its thread may begin after it was given up
                monkeypatch.undo()
                late.set()
                await asyncio.to_thread(ended.wait)
        return found

    config = configuration(tmp_path, "ldap://slow.hoge.cxm ldap://127.0.0.1:1")
    with config.open("a") as file:
        file.write("ldap_timeout: 0.2\nldap_connect_timeout: 0.1\n")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    (slow,) = [step for step in run(test()) if step.what == "address" and "slow" in step.subject]
    assert slow.result is Result.ERROR
    assert "no answer within" in slow.detail


def test_a_domain_that_dns_does_not_know_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> list[Step]:
        async with fake_dns() as dns:
            monkeypatch.setattr(Lookup.__init__, "__defaults__", (dns.resolver,))
            return await steps(config)

    config = configuration(tmp_path, DOMAIN)
    last = run(test())[-1]
    assert (last.what, last.result, last.advice) == ("DNS", Result.ERROR, "mend the records in DNS")


def test_a_domain_without_the_library_for_dns_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    last = run(steps(configuration(tmp_path, DOMAIN)))[-1]
    assert (last.what, last.result) == ("DNS", Result.ERROR)
    assert "install pysaslauthd[srv]" in last.detail


def test_a_file_that_breaks_after_it_was_looked_at_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "people.ldif").touch(0o600)
    (tmp_path / "people.ldif").write_text(people.tree(1))
    config = configuration(tmp_path, f"ldif://{tmp_path}/people.ldif")

    async def test() -> list[Step]:
        found = []
        async for step in check(config, tmp_path):
            found.append(step)
            if step.what == "file" and step.result is Result.OK:
                (tmp_path / "people.ldif").write_text("nonsense\n")
        return found

    *_, good, last = run(test())
    assert (good.what, good.result) == ("file", Result.OK)
    assert (last.what, last.result) == ("file", Result.ERROR)
    assert last.detail.startswith(f"{tmp_path}/people.ldif:1: ")


def test_a_socket_that_cannot_be_looked_at_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    step = settings.socket(tmp_path / "run")
    assert (step.result, step.detail) == (Result.SKIPPED, "Not a directory; root can look")


@pytest.mark.usefixtures("root")
def test_a_group_without_a_name_is_told_by_its_number() -> None:
    unknown = max(group.gr_gid for group in grp.getgrall() if group.gr_gid < 65534) + 1
    with folder("check") as run_dir, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "mux"))
        (run_dir / "mux").chmod(0o660)
        os.chown(run_dir / "mux", 0, unknown)
        step = settings.socket(run_dir)
        assert (step.result, step.detail) == (Result.OK, f"its owner and group {unknown} ({run_dir / 'mux'})")
