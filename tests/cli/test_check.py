"""``pysaslauthctl check`` against files, and against a fake directory that does what real ones do rarely."""

from __future__ import annotations

import grp
import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.cli import control
from pysaslauthd.directory import watcher
from pysaslauthd.inspection import settings
from pysaslauthd.wire.ldap import change, codes
from rig import Authority, faults, people
from rig.dated_authority import DatedAuthority
from rig.deaf import deaf
from rig.fake_ldap import FakeLdap
from rig.ldap_table import PEOPLE
from rig.needs import not_root
from rig.programs import folder, free_port
from rig.terminal import on_terminal

GROUP_DN = f"cn=mail,{people.SUFFIX}"
GROUP = {GROUP_DN: {"objectClass": [b"groupOfUniqueNames"], "uniqueMember": [people.PENGUIN_DN.encode()]}}
LDIF = people.tree()
SECRET = "retriever-secret"
NO_GROUP = (
    "make a group for the mail server's user, USER, and give it the folder:"
    " groupadd -r none-such && usermod -aG none-such USER && "
)
ENTRIES = {**PEOPLE, people.SERVICE_DN: {"userPassword": [SECRET.encode()]}, **GROUP}


class Site:
    """A folder with a configuration and a run directory."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.config = folder / "saslauthd.conf"
        self.people = folder / "people.ldif"
        self.keys: dict[str, str] = {}
        self._capsys = capsys

    def ask(self, server: FakeLdap | str, method: str = "custom") -> None:
        """Take the article's configuration for a server."""
        uri = server if isinstance(server, str) else server.uri
        self.keys = {
            "ldap_servers": uri,
            "ldap_bind_dn": people.SERVICE_DN,
            "ldap_password": SECRET,
            "ldap_search_base": people.PEOPLE,
            "ldap_filter": "(&(objectclass=mailRecipient)(mail=%U@%d))",
            "ldap_auth_method": method,
        }

    def ask_file(self) -> None:
        """Take the article's people from a file."""
        self.people.write_text(LDIF)
        self.people.chmod(0o600)
        self.ask(f"ldif://{self.people}")
        del self.keys["ldap_bind_dn"], self.keys["ldap_password"]

    def write(self) -> None:
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in self.keys.items()))
        self.config.chmod(0o600)

    def text(self, *flags: str) -> tuple[int, str]:
        """Exit status and output."""
        if not self.config.exists():
            self.write()
        status = control.main(["check", "-O", str(self.config), "-m", str(self.run_dir), *flags])
        out, err = self._capsys.readouterr()
        assert err == ""
        for secret in (SECRET, people.PENGUIN_PASSWORD, "{SSHA}"):
            assert secret not in out
        return status, out

    def check(self) -> tuple[int, dict[str, Any]]:
        """Exit status, and the steps that are not ok: ``result subject what`` to the step; the subject without path."""
        status, out = self.text("--json")
        told = json.loads(out)
        assert told["result"] == ("ok", "warning", "error")[status]
        return status, {
            f"{step['result']} {step['what']}": step
            for step in told["steps"]
            if step["result"] not in ("ok", "skipped")
        }


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, capsys)


@pytest.fixture
def server() -> Iterator[FakeLdap]:
    with FakeLdap(ENTRIES) as fake:
        yield fake


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Its certificates are good for long."""
    return DatedAuthority(tmp_path_factory.mktemp("authority"), 90)


def test_where_all_is_well_every_step_is_ok(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    status, out = site.text()
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("  ")] == [
        ["ok", "syntax"],
        ["ok", "settings"],
        ["skipped", "who"],
        ["ok", "address"],
        ["ok", "connect"],
        ["skipped", "TLS"],
        ["ok", "service"],
        ["ok", "filter"],
        ["ok", "search"],
        ["ok", "users"],
        ["ok", "passwords"],
        ["skipped", "account"],
    ]
    assert "\x1b" not in out


def test_an_ldif_file_is_a_server(site: Site) -> None:
    site.ask_file()
    status, out = site.text()
    assert status == 0
    assert "4 entries" in out
    assert "userPassword can be read" in out


# Each warning once


@pytest.mark.parametrize(
    ("key", "value", "what", "said"),
    [
        ("ldap_searchbase", "x", "ldap_searchbase", "line 5: unknown key, the line is passed over; did you mean"),
        ("ldap_filter", "mail=%u", "ldap_filter", "no outer parentheses; read as (mail=%u)"),
        ("ldap_filter", "(mail=penguin)", "ldap_filter", "neither %u nor %U: every login means the same entry"),
        ("ldap_filter", "(uid=%s)", "ldap_filter", "%s is the service, did you mean %u?"),
        ("ldap_debug", "1", "ldap_debug", "no effect"),
    ],
)
def test_a_doubt_about_the_configuration_is_a_warning(site: Site, key: str, value: str, what: str, said: str) -> None:
    site.ask_file()
    site.keys[key] = value
    _, found = site.check()
    assert said in found[f"warning {what}"]["detail"]


def test_no_tls_to_another_host_is_a_warning(site: Site) -> None:
    site.ask("ldap://192.0.2.1/")
    site.keys["ldap_connect_timeout"] = "0.01"
    _, found = site.check()
    assert "cross the network to ldap://192.0.2.1/ in clear" in found["warning ldap_servers"]["detail"]


def test_a_configuration_that_others_can_read_is_a_warning(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.write()
    site.config.chmod(0o644)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning ldap_password"])
    assert f"chmod 600 {site.config}" in found["warning ldap_password"]["detail"]


def test_a_password_file_that_others_can_read_is_a_warning(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    secret = site.folder / "secret"
    secret.write_text(site.keys.pop("ldap_password"))
    secret.chmod(0o644)
    site.keys["ldap_password_file"] = str(secret)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning ldap_password_file"])


def test_a_private_key_that_others_can_read_is_a_warning(site: Site, authority: Authority) -> None:
    client = authority.issue("client")
    client.key.chmod(0o644)
    with FakeLdap(ENTRIES, authority=authority) as server:
        site.ask(server)
        site.keys |= {
            "ldap_start_tls": "yes",
            "ldap_tls_cacert_file": str(authority.certificate),
            "ldap_tls_cert": str(client.certificate),
            "ldap_tls_key": str(client.key),
        }
        status, found = site.check()
    assert (status, list(found)) == (1, ["warning ldap_tls_key"])


def test_an_ldif_file_that_others_can_read_is_a_warning(site: Site) -> None:
    site.ask_file()
    site.people.chmod(0o644)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning file"])
    assert found["warning file"]["advice"] == f"chmod o-r {site.people}"


@pytest.mark.parametrize("ldaps", [True, False])
def test_a_server_that_is_not_verified_is_a_warning(site: Site, authority: Authority, ldaps: bool) -> None:
    with FakeLdap(ENTRIES, authority=authority, ldaps=ldaps) as server:
        site.ask(server)
        site.keys |= {"ldap_tls_check_peer": "no"} | ({} if ldaps else {"ldap_start_tls": "yes"})
        status, found = site.check()
    assert (status, list(found)) == (1, ["warning ldap_tls_check_peer", "warning TLS"])
    start = "" if ldaps else "StartTLS, "
    names = "127.0.0.1, localhost"
    assert found["warning TLS"]["detail"] == f"{start}TLSv1.3, for {names}, expires in 90 days, not verified"
    assert "ldap_tls_check_peer: yes" in found["warning TLS"]["advice"]


@pytest.mark.parametrize(("days", "expected"), [(29.5, "warning TLS"), (30.5, None)])
def test_a_certificate_that_expires_soon_is_a_warning(
    site: Site, tmp_path: Path, days: float, expected: str | None
) -> None:
    authority = DatedAuthority(tmp_path / "authority", days)
    with FakeLdap(ENTRIES, authority=authority, ldaps=True) as server:
        site.ask(server)
        site.keys["ldap_tls_cacert_file"] = str(authority.certificate)
        _, found = site.check()
    assert list(found) == ([expected] if expected else [])
    if expected:
        assert found[expected]["advice"] == "renew the server's certificate"


def test_one_address_of_several_that_fails_is_a_warning(
    site: Site, server: FakeLdap, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        return real("127.0.0.1", port, *more, **named) + real("127.0.0.9", port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", two)
    site.ask(server)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning connect"])
    assert "but 127.0.0.9: Connection refused" in found["warning connect"]["detail"]


def test_a_group_without_visible_members_is_a_warning(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = people.PEOPLE
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning group"])
    assert "shows no uniqueMember" in found["warning group"]["detail"]


ROOT: dict[str, Sequence[bytes]] = {"objectClass": [b"top"], "namingContexts": [people.SUFFIX.encode()]}
BEFORE = [faults.honest] * 5
"""Searches before the one that does not end: search base, users; the root, what the account sees of it."""


@pytest.fixture
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "SETTLING", 0.0)


def watched(site: Site, server: FakeLdap, *controls: str) -> None:
    """Take a configuration that watches a server with these controls."""
    server.table.entries[""] = {**ROOT, "supportedControl": [each.encode() for each in controls]}
    site.ask(server, "bind")
    site.keys["ldap_watch"] = "yes"


@pytest.mark.usefixtures("_settled_at_once")
def test_a_watch_that_begins_is_ok(site: Site, server: FakeLdap) -> None:
    watched(site, server, change.PERSISTENT_SEARCH)
    server.fault("search", *BEFORE, faults.silent)
    status, out = site.text("--json")
    (step,) = [each for each in json.loads(out)["steps"] if each["what"] == "watch"]
    assert (status, step["result"], step["detail"]) == (0, "ok", "changes are told, by persistent search")
    (asked,) = [each for each in server.requests if change.PERSISTENT_SEARCH in each.controls]
    assert asked.bound == people.SERVICE_DN
    server.wait_closed()


@pytest.mark.parametrize("code", [50, 53])
def test_a_watch_that_is_refused_is_a_warning(site: Site, server: FakeLdap, code: int) -> None:
    watched(site, server, change.PERSISTENT_SEARCH)
    server.fault("search", *BEFORE, faults.result(code, "not for you"))
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning watch"])
    said = found["warning watch"]["detail"]
    assert said.startswith("no change is told: ")
    assert f"the server ended the persistent search: {codes.told(code, 'not for you')}" in said


def test_a_server_that_cannot_tell_of_changes_is_a_warning(site: Site, server: FakeLdap) -> None:
    watched(site, server)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning watch"])
    assert "offers neither persistent search nor content synchronisation" in found["warning watch"]["detail"]


@pytest.mark.usefixtures("_settled_at_once")
def test_changes_that_the_service_account_is_not_told_of_are_a_warning_with_what_to_do(
    site: Site, server: FakeLdap
) -> None:
    watched(site, server, change.PERSISTENT_SEARCH)
    unseen = [faults.honest] * 3 + [faults.result(0), faults.honest]
    server.fault("search", *unseen, faults.silent)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning watch"])
    step = found["warning watch"]
    assert "may leave the service account's sight unseen" in step["detail"]
    assert step["advice"].startswith(f"to {people.SUFFIX} add aci: ")


def test_a_synchronisation_that_does_not_begin_in_time_is_a_warning(site: Site, server: FakeLdap) -> None:
    watched(site, server, change.SYNC_REQUEST)
    site.keys["login_deadline"] = "2"
    server.fault("search", *BEFORE, faults.honest, faults.silent)
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning watch"])
    assert "not begun within 2 s" in found["warning watch"]["detail"]
    assert "let the service account read contextCSN" in found["warning watch"]["advice"]


def test_where_there_is_no_part_to_watch_that_is_told(site: Site, server: FakeLdap) -> None:
    watched(site, server, change.PERSISTENT_SEARCH)
    site.keys["ldap_search_base"] = "dc=%2"
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning watch"])
    assert "there is no part to watch" in found["warning watch"]["detail"]


def test_fastbind_needs_the_service_account_for_its_watch(site: Site, server: FakeLdap) -> None:
    watched(site, server, change.PERSISTENT_SEARCH)
    site.keys |= {"ldap_auth_method": "fastbind", "ldap_filter": f"uid=%U,{people.PEOPLE}", "ldap_password": "wrong"}
    del site.keys["ldap_search_base"]
    status, found = site.check()
    assert (status, list(found)) == (2, ["error service bind"])


def test_users_that_show_no_groups_are_a_warning(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_group_dn": GROUP_DN, "ldap_group_match_method": "memberof"}
    status, found = site.check()
    assert (status, list(found)) == (1, ["warning group"])
    assert "none shows memberOf" in found["warning group"]["detail"]
    server.table.entries[people.PENGUIN_DN] = {**PEOPLE[people.PENGUIN_DN], "memberOf": [GROUP_DN.encode()]}
    status, found = site.check()
    assert (status, found) == (0, {})


@pytest.mark.parametrize(
    ("entry", "mode", "expected"), [(0o755, 0o777, "warning"), (0o710, 0o777, "ok"), (0o755, 0o660, "ok")]
)
def test_a_socket_that_everybody_reaches_is_a_warning(entry: int, mode: int, expected: str) -> None:
    with folder("check") as run_dir, socket.socket(socket.AF_UNIX) as listener:  # pytest's own are closed to others
        listener.bind(str(run_dir / "mux"))
        (run_dir / "mux").chmod(mode)
        run_dir.chmod(entry)
        step = settings.socket(run_dir)
    assert step.result.value == expected
    assert step.advice.endswith(f"chmod 710 {run_dir}" if expected == "warning" else "")


@pytest.mark.parametrize(
    ("groups", "advice"),
    [
        (["{here}", "none-such"], "give the folder to the group {here}, which the mail server's user must be in: "),
        (["none-such", "{here}"], "give the folder to the group {here}, which the mail server's user must be in: "),
        (["none-such", "nor-this"], NO_GROUP),
    ],
)
def test_a_socket_is_given_to_a_group_that_there_is(
    groups: list[str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = grp.getgrgid(0).gr_name
    monkeypatch.setattr(settings, "_GROUPS", [group.format(here=here) for group in groups])
    with folder("check") as run_dir, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "mux"))
        (run_dir / "mux").chmod(0o777)
        step = settings.socket(run_dir)
    given = here if "{here}" in groups else "none-such"
    assert step.advice == f"{advice.format(here=here)}chgrp {given} {run_dir} && chmod 710 {run_dir}"


# Each error


@pytest.mark.parametrize(
    ("text", "what", "said"),
    [
        ("ldap_filter (uid=%u)\n", "ldap_filter", "line 1: no value"),
        ("what is this\n", "syntax", "line 1: no value"),
        ("ldap_filter: (uid=%u\n", "ldap_filter", "line 1: a parenthesis is not closed in (uid=%u"),
        ("ldap_auth_method: costume\n", "ldap_auth_method", "'costume' is none of bind, custom, fastbind"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_an_error(site: Site, text: str, what: str, said: str) -> None:
    site.config.write_text(text)
    status, found = site.check()
    assert (status, list(found)) == (2, [f"error {what}"])
    assert said in found[f"error {what}"]["detail"]


def test_what_may_not_be_read_is_a_step_and_no_wrong_command_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ask_file()
    site.run_dir.mkdir()
    site.write()
    for name in ("saslauthd.conf", "run"):
        monkeypatch.setattr(os, "access", lambda path, _, name=name: Path(path).name != name)
        assert site.text()[0] < 2


def test_a_file_that_is_not_there_is_an_error(site: Site) -> None:
    site.config = site.folder / "none"
    status = control.main(["check", "-O", str(site.config)])
    assert status == 2


def test_a_filter_that_ldap_does_not_know_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_filter"] = "(&(mail=%u)(uid))"
    status, found = site.check()
    assert (status, list(found)) == (2, ["error filter"])


def test_a_name_that_is_not_known_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    site.ask("ldaps://ldap.hoge.cxm/")
    status, found = site.check()
    assert (status, list(found)) == (2, ["error address"])
    assert found["error address"]["detail"] == "Name or service not known"


def test_a_name_service_that_hangs_is_given_up_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        over.wait(120)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    site.ask("ldaps://ldap.hoge.cxm/")
    site.keys["ldap_connect_timeout"] = "0.1"
    try:
        status, found = site.check()
        assert not over.is_set()
    finally:
        over.set()
    assert (status, list(found)) == (2, ["error address"])
    assert found["error address"]["detail"] == "no answer within 0.1 s"


def test_every_server_is_looked_at_though_the_first_fails(site: Site, server: FakeLdap) -> None:
    port = free_port()
    site.ask(f"ldap://127.0.0.1:{port} {server.uri}")
    status, out = site.text()
    assert status == 2
    first, second = out.split(f"\n{server.uri}\n")
    assert "error    connect" in first
    assert f"port {port} of 127.0.0.1: Connection refused" in first
    assert first.count("connect failed") == 7
    assert second.count("  ok ") == 7


def test_a_socket_of_a_server_that_is_not_there_is_an_error(site: Site) -> None:
    site.ask(f"ldapi://{str(site.folder / 'none').replace('/', '%2F')}")
    status, found = site.check()
    assert (status, list(found)) == (2, ["error socket"])
    assert found["error socket"]["detail"] == "No such file or directory"


def test_a_server_on_a_socket_is_looked_at(site: Site) -> None:
    with FakeLdap(ENTRIES, path=site.folder / "ldapi") as server:
        site.ask(server)
        status, found = site.check()
    assert (status, found) == (0, {})


@pytest.mark.parametrize("ldaps", [True, False])
def test_a_certificate_of_an_unknown_authority_is_an_error_that_shows_it(
    site: Site, authority: Authority, tmp_path: Path, ldaps: bool
) -> None:
    wrong = Authority(tmp_path / "wrong", "Wrong CA")
    with FakeLdap(ENTRIES, authority=authority, ldaps=ldaps) as server:
        site.ask(server)
        site.keys |= {"ldap_tls_cacert_file": str(wrong.certificate)} | ({} if ldaps else {"ldap_start_tls": "yes"})
        status, found = site.check()
    assert (status, list(found)) == (2, ["error TLS"])
    assert "its certificate is not trusted" in found["error TLS"]["detail"]
    assert found["error TLS"]["detail"].endswith("it is for 127.0.0.1, localhost, expires in 90 days")
    assert found["error TLS"]["advice"].startswith("ldap_tls_cacert_file names")


@pytest.mark.parametrize("check_peer", ["yes", "no"])
def test_a_certificate_that_has_expired_is_an_error(site: Site, tmp_path: Path, check_peer: str) -> None:
    authority = DatedAuthority(tmp_path / "authority", -3)
    with FakeLdap(ENTRIES, authority=authority, ldaps=True) as server:
        site.ask(server)
        site.keys |= {"ldap_tls_cacert_file": str(authority.certificate), "ldap_tls_check_peer": check_peer}
        status, found = site.check()
    assert status == 2
    assert "expired 3 days ago" in found["error TLS"]["detail"]
    assert found["error TLS"]["advice"] == "renew the server's certificate"


def test_a_certificate_for_another_name_is_an_error_that_names_it(site: Site, tmp_path: Path) -> None:
    class Elsewhere(DatedAuthority):
        def issue(self, name: str = "localhost", *, san: str = "") -> Any:
            return super().issue(name, san="DNS:ldap.hoge.cxm")

    authority = Elsewhere(tmp_path / "authority", 90)
    with FakeLdap(ENTRIES, authority=authority, ldaps=True) as server:
        site.ask(server)
        site.keys["ldap_tls_cacert_file"] = str(authority.certificate)
        status, found = site.check()
    assert (status, list(found)) == (2, ["error TLS"])
    assert "it is for ldap.hoge.cxm" in found["error TLS"]["detail"]
    assert found["error TLS"]["advice"].startswith("ldap_servers must name the server as its certificate does")


def test_a_server_that_refuses_starttls_is_an_error(site: Site, server: FakeLdap, authority: Authority) -> None:
    site.ask(server)
    site.keys |= {"ldap_start_tls": "yes", "ldap_tls_cacert_file": str(authority.certificate)}
    status, found = site.check()
    assert (status, list(found)) == (2, ["error TLS"])
    assert found["error TLS"]["detail"].startswith("StartTLS: result 2 (protocolError)")


def test_a_service_account_that_is_refused_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_password"] = "no-such"
    status, out = site.text()
    assert status == 2
    assert re.search(
        rf"error +service bind +[0-9.]+ ms +bind as {people.SERVICE_DN}: result 49 \(invalidCredentials\)", out
    )
    assert "to do: mend ldap_bind_dn or its password" in out
    assert "no-such" not in out


@pytest.mark.parametrize("operation", ["bind", "search"])
def test_a_server_that_hangs_is_given_up_in_time(site: Site, server: FakeLdap, operation: str) -> None:
    site.ask(server)
    limit = {"bind": "ldap_connect_timeout", "search": "ldap_timeout"}[operation]
    site.keys |= {limit: "1", "ldap_restart": "no"}
    server.fault(operation, *[faults.silent] * 20)
    status, found = site.check()
    assert status == 2
    (error,) = found.values()
    assert error["what"] == {"bind": "service bind", "search": "search base"}[operation]
    assert "within 1 s" in error["detail"]


def test_a_machine_that_does_not_answer_is_an_error(site: Site) -> None:
    with deaf() as port:
        site.ask(f"ldap://127.0.0.1:{port}")
        site.keys["ldap_connect_timeout"] = "1"
        status, found = site.check()
    assert (status, list(found)) == (2, ["error connect"])
    assert "no answer within 1 s" in found["error connect"]["detail"]


def test_a_search_base_that_is_not_there_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_search_base"] = "ou=Nobody,dc=hoge,dc=cxm"
    status, found = site.check()
    assert (status, list(found)) == (2, ["error search base"])
    assert "there is no ou=Nobody,dc=hoge,dc=cxm" in found["error search base"]["detail"]


def test_nobody_to_be_found_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_filter"] = "(&(objectclass=penguin)(mail=%u))"
    status, found = site.check()
    assert (status, list(found)) == (2, ["error users"])
    assert "nobody is found with (&(objectclass=penguin)(mail=*))" in found["error users"]["detail"]


@pytest.mark.parametrize(
    ("keys", "what", "said"),
    [
        ({"ldap_filter": "(:dn:2.5.13.5:=%u)"}, "users", "ldap_filter hangs on the login"),
        (
            {"ldap_group_match_method": "filter", "ldap_group_filter": "(:dn:2.5.13.1:=%D)"},
            "group",
            "ldap_group_filter hangs on the login",
        ),
    ],
)
def test_a_filter_that_means_nobody_without_a_login_is_not_asked(
    site: Site, server: FakeLdap, keys: dict[str, str], what: str, said: str
) -> None:
    site.ask(server, "bind")
    site.keys |= keys
    status, out = site.text("--json")
    assert status == 0
    (step,) = [each for each in json.loads(out)["steps"] if each["what"] == what]
    assert step["result"] == "skipped"
    assert said in step["detail"]


@pytest.mark.parametrize("code", [3, 11, 53])
def test_a_directory_that_does_not_search_for_everybody_is_no_error(site: Site, server: FakeLdap, code: int) -> None:
    site.ask(server, "bind")
    server.fault("search", faults.honest, faults.result(code))
    status, found = site.check()
    assert (status, found) == (0, {})


def test_passwords_that_may_not_be_read_are_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_password_attr"] = "sambaNTPassword"
    status, found = site.check()
    assert (status, list(found)) == (2, ["error passwords"])
    assert "allow the service account to read sambaNTPassword" in found["error passwords"]["advice"]


def test_a_group_that_is_not_there_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = "cn=none,dc=hoge,dc=cxm"
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])


def test_a_group_that_may_not_be_compared_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = GROUP_DN
    status, found = site.check()
    assert (status, found) == (0, {})
    server.fault("compare", faults.result(16))
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])
    assert "cannot be compared, so nobody can log in" in found["error group"]["detail"]


@pytest.mark.parametrize("group", [GROUP_DN, people.PEOPLE])
def test_a_group_whose_comparing_is_refused_is_an_error_be_its_members_read_or_not(
    site: Site, server: FakeLdap, group: str
) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = group
    server.fault("compare", faults.result(50))
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])
    assert found["error group"]["advice"] == "allow the service account to compare uniqueMember"


def test_another_refusal_to_compare_is_told_as_it_is(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = GROUP_DN
    server.fault("compare", faults.result(80, "on fire"))
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])
    assert "result 80 (other): on fire" in found["error group"]["detail"]


@pytest.mark.parametrize(("faults_", "what"), [(1, "search base"), (2, "users")])
def test_a_search_that_is_refused_is_told_as_it_is(site: Site, server: FakeLdap, faults_: int, what: str) -> None:
    site.ask(server)
    server.fault("search", *[faults.honest] * (faults_ - 1), faults.result(80, "on fire"))
    status, found = site.check()
    assert (status, next(iter(found))) == (2, f"error {what}")
    assert "result 80 (other): on fire" in found[f"error {what}"]["detail"]


def test_without_users_their_groups_are_not_looked_for(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_filter": "(objectclass=nobody)", "ldap_group_match_method": "memberof"}
    site.keys["ldap_group_dn"] = GROUP_DN
    status, found = site.check()
    assert status == 2
    assert "error users" in found
    assert [name for name in found if name.endswith(" group")] == []


def test_a_group_filter_whose_base_hangs_on_the_login_is_skipped(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_group_match_method": "filter", "ldap_group_search_base": "ou=%s,dc=hoge,dc=cxm"}
    site.keys["ldap_group_filter"] = "(uniqueMember=%D)"
    _, out = site.text()
    assert "ldap_group_search_base hangs on the login" in out


def test_a_group_filter_that_finds_none_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_group_match_method": "filter", "ldap_group_search_base": people.SUFFIX}
    site.keys["ldap_group_filter"] = "(uniqueMember=%D)"
    status, found = site.check()
    assert (status, found) == (0, {})
    site.keys["ldap_group_filter"] = "(member=%D)"
    site.write()
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])


def test_a_group_filter_that_ldap_does_not_know_is_an_error(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_group_match_method": "filter", "ldap_group_filter": "(&(member=%D)(cn))"}
    status, found = site.check()
    assert (status, list(found)) == (2, ["error group"])
    assert found["error group"]["advice"] == "mend ldap_group_filter"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ldap_use_sasl": "yes", "ldap_mech": "PLAIN", "ldap_id": people.SERVICE_DN}, "SASL PLAIN as "),
        ({}, f"as {people.SERVICE_DN}"),
    ],
)
def test_who_the_service_account_is_is_told(site: Site, server: FakeLdap, keys: dict[str, str], said: str) -> None:
    site.ask(server)
    site.keys |= keys
    _, out = site.text()
    assert said in out


def test_an_anonymous_search_is_told(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    del site.keys["ldap_bind_dn"], site.keys["ldap_password"]
    status, out = site.text()
    assert status == 0
    assert "none: searches are anonymous" in out


def test_what_hangs_on_the_login_is_skipped(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_search_base": "ou=%s,dc=hoge,dc=cxm", "ldap_group_dn": "cn=%s,dc=hoge,dc=cxm"}
    status, out = site.text()
    assert status == 0
    assert out.count("hangs on the login; pysaslauthctl explain USER looks at one") == 3


def test_fastbind_asks_for_no_user(site: Site, server: FakeLdap) -> None:
    site.ask(server, "fastbind")
    del site.keys["ldap_bind_dn"], site.keys["ldap_password"], site.keys["ldap_search_base"]
    site.keys["ldap_filter"] = "uid=%u,ou=People,dc=hoge,dc=cxm"
    status, out = site.text()
    assert status == 0
    assert "fastbind without a group needs no service account" in out
    assert "users" not in out


@pytest.mark.parametrize("text", ["", "not LDIF"])
def test_an_ldif_file_that_cannot_be_used_is_an_error(site: Site, text: str) -> None:
    site.ask_file()
    site.people.write_text(text)
    status, found = site.check()
    assert (status, list(found)) == (2, ["error file"])


def test_a_missing_ldif_file_says_what_to_do(site: Site) -> None:
    site.ask_file()
    site.people.unlink()
    _, found = site.check()
    assert found["error file"]["detail"] == "No such file or directory"
    assert found["error file"]["advice"] == "create it, or mend ldap_servers"


@pytest.mark.parametrize("denied", ["config", "people"])
def test_who_may_not_read_a_file_is_told_who_may(capsys: pytest.CaptureFixture[str], denied: str) -> None:
    with folder("check") as at:  # pytest's own are closed to others
        site = Site(at, capsys)
        site.ask_file()
        site.write()
        for path in (site.config, site.people):
            path.chmod(0o644)
        getattr(site, denied).chmod(0)
        with not_root():
            _, out = site.text()
    assert "Permission denied" in out
    assert "run this as root or as the daemon's user" in out


def test_a_file_where_the_socket_should_be_is_an_error(site: Site) -> None:
    site.ask_file()
    site.run_dir.mkdir()
    (site.run_dir / "mux").touch()
    status, found = site.check()
    assert (status, list(found)) == (2, ["error who can ask"])


# How it is shown


def test_json_is_one_object_as_documented(site: Site) -> None:
    site.ask_file()
    status, out = site.text("--json")
    told = json.loads(out)
    assert set(told) == {"result", "steps"}
    for step in told["steps"]:
        assert list(step) == ["subject", "what", "result", "detail", "advice", "milliseconds"]
        assert step["milliseconds"] is None or step["milliseconds"] >= 0
    assert (status, told["result"]) == (0, "ok")


def test_colour_is_for_terminals_without_no_color(site: Site) -> None:
    site.ask_file()
    site.write()
    words = ("check", "-O", str(site.config), "-m", str(site.run_dir))
    shown = on_terminal(*words)
    assert shown.status == 0
    assert "\x1b[32m  ok " in shown.text
    assert "\x1b" not in on_terminal(*words, NO_COLOR="1").text


def test_what_cannot_be_printed_is_escaped(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    server.fault("bind", faults.result(49, "\x1b]0;owned\x07"))
    status, out = site.text()
    assert status == 2
    assert "\x1b" not in out
    assert r"\x1b]0;owned\x07" in out


def test_each_realm_is_walked(site: Site, server: FakeLdap) -> None:
    site.ask_file()
    realms = site.folder / "realms.d"
    realms.mkdir()
    site.keys["realm_config"] = str(realms)
    account = f"ldap_bind_dn: {people.SERVICE_DN}\nldap_password: {SECRET}\n"
    for name, text in (("hoge.cxm", f"ldap_servers: {server.uri}\n{account}"), ("cxm", "ldap_filter: mail=%U\n")):
        (realms / f"{name}.conf").touch(0o600)
        (realms / f"{name}.conf").write_text(text)
    status, out = site.text()
    assert status == 1
    subjects = [line for line in out.splitlines() if line and not line.startswith(" ")][:-1]
    assert subjects == [
        str(site.config),
        f"{realms}/cxm.conf",
        f"{realms}/hoge.cxm.conf",
        str(site.run_dir / "mux"),
        f"ldif://{site.people}",
        f"cxm: ldif://{site.people}",
        f"hoge.cxm: {server.uri}",
    ]
    assert "line 1: no outer parentheses; read as (mail=%U)" in out
    status, steps = site.check()
    assert steps["warning ldap_filter"]["subject"] == f"{realms}/cxm.conf"
    # Where the others are refused, the main file's own directory is asked nothing.
    site.config.unlink()
    site.keys["realm_unlisted"] = "refuse"
    _, out = site.text()
    assert "others than those with a file of their own are refused" in out
    assert f"\nldif://{site.people}\n" not in out
    assert f"\ncxm: ldif://{site.people}\n" in out
    # An error is told of the file that it stands in.
    (realms / "cxm.conf").write_text("ldap_scope: deep\n")
    status, steps = site.check()
    assert status == 2
    assert steps["error ldap_scope"]["subject"] == f"{realms}/cxm.conf"
