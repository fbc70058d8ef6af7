"""``pysaslauthctl check`` against real directories; what it prints is what the documentation shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.cli import control
from rig import Authority, DirectoryServer, Ds389, article, people
from rig.dated_authority import DatedAuthority
from rig.golden import compare
from rig.needs import need
from rig.programs import folder, free_port
from rig.saslauthd import conf_text

MENDING = re.compile(r"to (\S+) add aci: (\(.*?;\))(?:;|$)")


class Check:
    """Writes a configuration and checks it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "saslauthd.conf"
        self.run_dir = folder / "run"
        self._capsys = capsys

    def text(self, conf: Mapping[str, str], *flags: str) -> tuple[int, str]:
        """Exit status and output."""
        self.config.write_text(conf_text(conf))
        self.config.chmod(0o600)
        status = control.main(["check", "-O", str(self.config), "-m", str(self.run_dir), *flags])
        out, err = self._capsys.readouterr()
        assert err == ""
        return status, out

    def steps(self, conf: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Every step by what it looked at; of the last server, where there are several."""
        _, out = self.text(conf, "--json")
        return {step["what"]: step for step in json.loads(out)["steps"]}


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path, capsys)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Ds389]:
    """A 389 DS whose certificate is good for months, which tells the service account all that there is to see."""
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch", "openssl")
    with folder("lasting") as path, Ds389(DatedAuthority(path, 90), users=3) as server:
        yield server


def allow_all(server: Ds389, advice: str) -> None:
    """Do as the check advises."""
    found = MENDING.findall(advice)
    assert found
    for dn, aci in found:
        server.modify(f"dn: {dn}\nchangetype: modify\nadd: aci\naci: {aci}\n")


def shown(check: Check, server: DirectoryServer, text: str) -> str:
    """The output as an administrator's would be."""
    for here, there in {
        str(check.config): "/etc/saslauthd.conf",
        str(check.run_dir): "/var/run/saslauthd",
        str(server.authority.certificate): "/etc/ssl/certs/hoge.pem",
        f"127.0.0.1:{server.port}": "127.0.0.1:389",
        f"port {server.port} ": "port 389 ",
    }.items():
        text = text.replace(here, there)
    return text


def test_the_output_is_what_the_documentation_shows(check: Check, lasting: Ds389) -> None:
    conf = article(lasting, "custom", ldap_start_tls="yes", ldap_tls_cacert_file=str(lasting.authority.certificate))
    before = check.steps(conf)["account state"]
    assert before["result"] == "warning"
    status, out = check.text({**conf, "ldap_servers": f"ldap://127.0.0.1:1 {lasting.uri}", "ldap_searchbase": "x"})
    assert status == 2
    compare("check-problems.txt", shown(check, lasting, out))

    allow_all(lasting, before["advice"])
    status, out = check.text(conf)
    assert status == 0
    compare("check.txt", shown(check, lasting, out))
    status, out = check.text(conf, "--json")
    assert status == 0
    compare("check.json", shown(check, lasting, out))


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_every_kind_of_server_is_walked(check: Check, server: DirectoryServer, method: str) -> None:
    trust = {"ldap_tls_cacert_file": str(server.authority.certificate)}
    for uri in (server.uri, server.ldaps_uri, server.ldapi_uri):
        conf = article(server, method, ldap_servers=uri, **(trust if uri == server.ldaps_uri else {}))
        steps = check.steps(conf)
        assert not [step for step in steps.values() if step["result"] == "error"], steps
        assert steps["service bind"]["detail"] == f"as {people.SERVICE_DN}"
        assert steps["users"]["result"] == "ok"


def test_the_wrong_authority_is_told(check: Check, server: DirectoryServer, wrong_authority: Authority) -> None:
    conf = article(server, ldap_servers=server.ldaps_uri, ldap_tls_cacert_file=str(wrong_authority.certificate))
    step = check.steps(conf)["TLS"]
    assert step["result"] == "error"
    assert "127.0.0.1, localhost" in step["detail"]
    assert step["advice"].startswith("ldap_tls_cacert_file")


def test_a_wrong_password_of_the_service_account_is_told(check: Check, server: DirectoryServer) -> None:
    steps = check.steps(article(server, ldap_password="wrong"))
    assert steps["service bind"]["result"] == "error"
    assert "result 49 (invalidCredentials)" in steps["service bind"]["detail"]
    assert steps["users"]["detail"] == "service bind failed"


def test_an_account_that_may_not_read_passwords_is_told(check: Check, ds389: Ds389) -> None:
    anonymous = article(ds389)
    del anonymous["ldap_bind_dn"], anonymous["ldap_password"]
    steps = check.steps(anonymous)
    assert steps["service bind"]["detail"] == "none: searches are anonymous"
    assert steps["users"]["result"] == "error"
    assert steps["passwords"]["result"] == "skipped"


def test_a_search_base_that_is_not_there_is_told(check: Check, server: DirectoryServer) -> None:
    steps = check.steps(article(server, ldap_search_base=f"ou=Nobody,{people.SUFFIX}"))
    # 389 DS does not tell those who may not see the base.
    told = {"slapd": ("error", "skipped"), "ds389": ("skipped", "error")}[server.kind]
    assert (steps["search base"]["result"], steps["users"]["result"]) == told


def test_a_group_is_looked_at(check: Check, server: DirectoryServer) -> None:
    dn = f"cn=mail,{people.SUFFIX}"
    server.add(f"dn: {dn}\nobjectClass: groupOfUniqueNames\ncn: mail\nuniqueMember: {people.PENGUIN_DN}\n")
    try:
        conf = article(server, "bind", ldap_group_dn=dn)
        steps = check.steps(conf)
        assert steps["group"]["result"] == ("ok" if server.kind == "slapd" else "error")  # there is no ACI for it
        assert server.kind == "slapd" or "cannot be compared, so nobody can log in" in steps["group"]["detail"]
        steps = check.steps({**conf, "ldap_group_dn": f"cn=none,{people.SUFFIX}"})
        assert steps["group"]["result"] == ("error" if server.kind == "slapd" else "warning")
    finally:
        server.delete(dn)


def test_a_watch_is_begun_and_what_is_kept_from_it_is_told(check: Check, server: DirectoryServer) -> None:
    step = check.steps(article(server, "bind", ldap_watch="yes"))["watch"]
    how = {"slapd": "content synchronisation", "ds389": "persistent search"}[server.kind]
    assert step["detail"].startswith(f"changes are told, by {how}")
    if server.kind == "slapd":
        assert step["result"] == "ok", step
    else:
        assert step["result"] == "warning"
        assert "may leave the service account's sight unseen" in step["detail"]
        assert MENDING.findall(step["advice"])


def test_a_server_that_hangs_does_not_hold_up_the_next(
    check: Check, authority: Authority, server: DirectoryServer
) -> None:
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority, users=0) as hung:
        hung.pause()
        conf = article(server, "bind", ldap_servers=f"{hung.uri} {server.uri}", ldap_connect_timeout="1")
        status, out = check.text(conf)
        hung.resume()
    assert status == 2
    first, _, second = out.partition(f"\n{server.uri}\n")
    assert "error    service bind" in first
    assert "not connected within 1 s" in first
    assert "ok       users" in second


def test_servers_that_are_down_are_all_told(check: Check, server: DirectoryServer) -> None:
    ports = [free_port(), free_port()]
    _, out = check.text(article(server, ldap_servers=" ".join(f"ldap://127.0.0.1:{port}" for port in ports)))
    assert out.count("Connection refused") == 2
