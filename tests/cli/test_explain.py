"""``pysaslauthctl explain``: what is shown of a login, and what never is."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysaslauthd.cli import control
from pysaslauthd.directory import servers
from rig import faults, people
from rig.fake_ldap import FakeLdap
from rig.ldap_table import PEOPLE
from rig.needs import not_root
from rig.programs import free_port
from rig.terminal import on_terminal

SECRET = "retriever-secret"
STORED = people.ssha(people.PENGUIN_PASSWORD)
GROUP_DN = f"cn=mail,{people.SUFFIX}"
ENTRIES = {
    **PEOPLE,
    people.SERVICE_DN: {"userPassword": [SECRET.encode()]},
    GROUP_DN: {"uniqueMember": [people.PENGUIN_DN.encode()]},
}
FILTER = "(&(objectclass=mailRecipient)(mail=%U@%d))"


class Site:
    """A folder with a configuration."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.people = folder / "people.ldif"
        self.config = folder / "saslauthd.conf"
        self.keys = {"ldap_search_base": people.PEOPLE, "ldap_filter": FILTER, "ldap_auth_method": "custom"}
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.put(people.person("penguin", STORED))

    def put(self, ldif: str) -> None:
        """Ask a file with these people."""
        self.people.write_text(f"dn: {people.PEOPLE}\nobjectClass: organizationalUnit\nou: People\n\n{ldif}")
        self.people.chmod(0o600)
        self.keys["ldap_servers"] = f"ldif://{self.people}"

    def ask(self, *servers: FakeLdap | str, method: str = "bind") -> None:
        """Ask these servers."""
        uris = " ".join(server if isinstance(server, str) else server.uri for server in servers)
        account = {"ldap_bind_dn": people.SERVICE_DN, "ldap_password": SECRET}
        self.keys |= {"ldap_servers": uris, "ldap_auth_method": method, **account}

    def write(self) -> None:
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in self.keys.items()))
        self.config.chmod(0o600)

    def text(self, *words: str, password: str | None = people.PENGUIN_PASSWORD) -> tuple[int, str]:
        """Exit status and output; None: without a password."""
        self.write()
        how = ["--no-password"] if password is None else ["-p", "-"]
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{password}\nmore\n".encode())))
        status = control.main(["explain", "-O", str(self.config), *how, *words])
        out, err = self._capsys.readouterr()
        for secret in (SECRET, people.PENGUIN_PASSWORD, password or SECRET, STORED, STORED[6:20]):
            assert secret not in out + err
        assert err == ""
        return status, out

    def told(self, *words: str, password: str | None = people.PENGUIN_PASSWORD) -> dict[str, Any]:
        """The JSON object."""
        status, out = self.text(*words, "--json", password=password)
        told: dict[str, Any] = json.loads(out)
        assert status == ["accepted", "rejected", "unavailable"].index(told["verdict"])
        return told


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, capsys, monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeLdap]:
    with FakeLdap(ENTRIES) as fake:
        yield fake


def rows(out: str) -> dict[str, str]:
    return {line[:10].strip(): line[11:] for line in out.partition("\n\n")[0].splitlines()}


def test_a_right_password_is_explained(site: Site) -> None:
    status, out = site.text(people.PENGUIN)
    assert status == 0
    assert rows(out) == {
        "login": people.PENGUIN,
        "user": "penguin",
        "domain": "hoge.cxm, from the login, after its last @",
        "realm": "(none)",
        "service": "imap",
        "method": "custom",
        "base": f"{people.PEOPLE} (sub)",
        "filter": "(&(objectclass=mailRecipient)(mail=penguin@hoge.cxm))",
        "entry": people.PENGUIN_DN,
        "stored": "SSHA",
        "account": "usable",
        "verdict": "accepted: ok",
    }
    steps = out.partition("\n\n")[2].splitlines()
    assert [line.split(" ms  ")[1].split(" ")[0] for line in steps] == ["search", "password:", "in"]


@pytest.mark.parametrize(
    ("words", "keys", "login", "user", "domain", "where"),
    [
        (["penguin", "-r", "hoge.cxm"], {}, "penguin", "penguin", "hoge.cxm", "the realm, as the login has no @"),
        (["a@b@hoge.cxm"], {}, "a@b@hoge.cxm", "a@b", "hoge.cxm", "the login, after its last @"),
        (["penguin"], {"ldap_default_realm": "hoge.cxm"}, "penguin", "penguin", "hoge.cxm", "ldap_default_realm"),
        (["penguin"], {}, "penguin", "penguin", "", "nowhere"),
        (
            ["penguin", "-r", "hoge.cxm", "--append-realm"],
            {},
            people.PENGUIN,
            "penguin",
            "hoge.cxm",
            "the realm, which",
        ),
    ],
)
def test_how_the_login_was_cut_is_shown(
    site: Site, words: list[str], keys: dict[str, str], login: str, user: str, domain: str, where: str
) -> None:
    site.keys |= keys
    told = site.told(*words)
    assert [told["identity"][name] for name in ("login", "user", "domain")] == [login, user, domain]
    assert told["domain_from"].startswith(where)
    assert told["verdict"] == ("accepted" if (user, domain) == ("penguin", "hoge.cxm") else "rejected")


def test_a_wrong_password_is_status_1_and_tells_the_scheme(site: Site) -> None:
    told = site.told(people.PENGUIN, password="no-such-pass")
    assert (told["reason"], told["schemes"]) == ("wrong-password", ["SSHA"])
    assert (told["account"], told["group"]) == (None, None)


def test_an_empty_password_asks_nothing(site: Site) -> None:
    told = site.told(people.PENGUIN, password="")
    assert (told["reason"], told["steps"]) == ("empty-password", [])


def test_values_are_escaped_in_filter_and_base(site: Site) -> None:
    site.keys |= {"ldap_search_base": f"ou=%s,{people.SUFFIX}", "ldap_auth_method": "bind"}
    told = site.told("pen*)(guin@hoge.cxm", "-s", "People,x")
    (step,) = told["steps"]
    assert step["filter"] == r"(&(objectclass=mailRecipient)(mail=pen\2a\29\28guin@hoge.cxm))"
    assert step["dn"] == rf"ou=People\2cx,{people.SUFFIX}"
    assert (told["reason"], step["answer"]) == ("unknown-user", "nothing found")


def test_what_cannot_be_printed_is_escaped(site: Site) -> None:
    status, out = site.text("pen\x1bguin\udcff@hoge.cxm")
    assert status == 1
    assert out.startswith(r"login      pen\x1bguin\xff@hoge.cxm" + "\n")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(login=st.binary(min_size=1).filter(lambda login: b"\0" not in login), realm=st.text("@.*()\\\n\x1b,a"))
def test_any_login_is_explained_in_printable_lines(site: Site, login: bytes, realm: str) -> None:
    status, out = site.text("-r", realm, "--", os.fsdecode(login))
    assert status in (0, 1)
    assert all(line.isprintable() for line in out.split("\n"))
    assert out.count("\nverdict ") == 1


def test_a_locked_account_is_told(site: Site) -> None:
    site.put(people.person("penguin", STORED, more="nsAccountLock: true\n"))
    told = site.told(people.PENGUIN)
    assert (told["reason"], told["account"], told["detail"]) == ("locked", "locked", "nsAccountLock")


def test_every_stored_scheme_is_told(site: Site) -> None:
    site.put(people.person("penguin", [STORED, "{NOSUCH}abc", "clear-text"]))
    told = site.told(people.PENGUIN)
    assert told["schemes"] == ["SSHA", "NOSUCH", "CLEAR"]
    assert "compared with SSHA, NOSUCH, CLEAR" in [step["answer"] for step in told["steps"]]


# Without a password


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_without_a_password_it_tells_what_a_right_one_would_meet(site: Site, method: str) -> None:
    site.keys["ldap_auth_method"] = method
    status, out = site.text(people.PENGUIN, password=None)
    assert status == 0
    assert rows(out)["verdict"] == "accepted, if the password is right"
    assert "compared" not in out
    site.put(people.person("penguin", STORED, more="nsAccountLock: true\n"))
    told = site.told(people.PENGUIN, password=None)
    assert (told["reason"], told["password_checked"]) == ("locked", False)


@pytest.mark.parametrize(
    ("stored", "reason"), [(["{NOSUCH}abc"], "unknown-scheme"), ([], "no-password"), (["{NOSUCH}abc", STORED], "ok")]
)
def test_without_a_password_a_stored_one_that_is_of_no_use_is_told(site: Site, stored: list[str], reason: str) -> None:
    site.put(people.person("penguin", stored))
    assert site.told(people.PENGUIN, password=None)["reason"] == reason


def test_without_a_password_no_user_bind_is_asked(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys["ldap_group_dn"] = GROUP_DN
    told = site.told(people.PENGUIN, password=None)
    assert (told["verdict"], told["group"], told["account"]) == ("accepted", True, None)
    assert [request.body["name"] for request in server.wait_for("bind")] == [people.SERVICE_DN.encode()]


def test_without_a_password_fastbind_asks_nobody(site: Site, server: FakeLdap) -> None:
    site.ask(server, method="fastbind")
    site.keys["ldap_filter"] = f"uid=%U,{people.PEOPLE}"
    told = site.told(people.PENGUIN, password=None)
    assert (told["verdict"], told["entry"], told["steps"]) == ("accepted", people.PENGUIN_DN, [])
    site.keys |= {"ldap_use_sasl": "yes", "ldap_mech": "PLAIN"}
    told = site.told(people.PENGUIN, password=None)
    assert (told["verdict"], told["steps"]) == ("accepted", [])


# Servers


@pytest.mark.parametrize(("password", "reason"), [(people.PENGUIN_PASSWORD, "ok"), ("no-such-pass", "wrong-password")])
def test_a_bind_is_told(site: Site, server: FakeLdap, password: str, reason: str) -> None:
    site.ask(server)
    told = site.told(people.PENGUIN, password=password)
    assert told["reason"] == reason
    assert [step["what"] for step in told["steps"]] == ["search", "bind"]
    assert told["steps"][1]["dn"] == told["entry"] == people.PENGUIN_DN
    assert told["steps"][1]["answer"] == ("result 0 (success)" if reason == "ok" else "result 49 (invalidCredentials)")


def test_sasl_plain_is_told(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_use_sasl": "yes", "ldap_mech": "PLAIN"}
    told = site.told(people.PENGUIN)
    assert (told["method"], [step["dn"] for step in told["steps"]]) == ("fastbind", [people.PENGUIN])


@pytest.mark.parametrize(("member", "reason"), [(True, "ok"), (False, "not-in-group")])
def test_a_group_is_told(site: Site, server: FakeLdap, member: bool, reason: str) -> None:
    site.ask(server, method="custom")
    site.keys["ldap_group_dn"] = GROUP_DN
    if not member:
        server.table.entries[GROUP_DN] = {"uniqueMember": [b"uid=other"]}
    status, out = site.text(people.PENGUIN)
    assert status == (0 if member else 1)
    assert rows(out)["group"] == ("a member" if member else "no member")
    assert f"compare {GROUP_DN}: uniqueMember {'holds' if member else 'does not hold'} the user" in out
    assert site.told(people.PENGUIN)["reason"] == reason


def test_a_group_that_is_searched_shows_its_filter(site: Site, server: FakeLdap) -> None:
    site.ask(server)
    site.keys |= {"ldap_group_match_method": "filter", "ldap_group_search_base": people.SUFFIX}
    site.keys["ldap_group_filter"] = "(uniqueMember=%D)"
    status, out = site.text(people.PENGUIN)
    assert status == 0
    assert f"filter     (uniqueMember={people.PENGUIN_DN})" in out


def test_a_server_that_failed_is_noted(site: Site, server: FakeLdap) -> None:
    down = f"ldap://127.0.0.1:{free_port()}"
    site.ask(down, server)
    status, out = site.text(people.PENGUIN)
    assert status == 0
    assert rows(out)["note"] == f"directory server failed: {down}: Connection refused"


def test_no_server_is_status_2(site: Site) -> None:
    site.ask(f"ldap://127.0.0.1:{free_port()}")
    told = site.told(people.PENGUIN)
    assert (told["verdict"], told["reason"]) == ("unavailable", "directory-down")


def test_a_server_that_hangs_is_given_up_before_the_deadline(
    site: Site, server: FakeLdap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LEFT", 0.95)
    site.ask(server)
    site.keys["login_deadline"] = "10"
    server.fault("bind", faults.silent)
    told = site.told(people.PENGUIN)
    assert (told["verdict"], told["reason"]) == ("unavailable", "directory-down")
    assert [step["answer"] for step in told["steps"]] == [f"{server.uri}: not connected within 0.5 s"]
    assert told["milliseconds"] > 400


# The command line


def test_the_password_is_asked_for_without_echo(site: Site) -> None:
    site.write()
    shown = on_terminal(
        "explain", "-O", str(site.config), people.PENGUIN, prompt="Password: ", reply=people.PENGUIN_PASSWORD
    )
    assert shown.status == 0
    assert people.PENGUIN_PASSWORD not in shown.text
    assert "\x1b[32m\x1b[1mverdict    accepted: ok" in shown.text


def test_no_color_is_respected(site: Site) -> None:
    site.write()
    shown = on_terminal("explain", "-O", str(site.config), "--no-password", people.PENGUIN, NO_COLOR="1")
    assert shown.status == 0
    assert "\x1b" not in shown.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "penguin-pass"], "a password here shows in the process list"),
        (["-p", "-", "--no-password"], "exclude each other"),
        ([], "no terminal to ask for the password on"),
    ],
)
def test_a_wrong_command_line_is_status_2(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    site.write()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x\n")))
    assert control.main(["explain", "-O", str(site.config), people.PENGUIN, *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert people.PENGUIN_PASSWORD not in err


def test_a_password_that_no_request_can_hold_is_not_cut(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * 20000 + b"\n")))
    assert control.main(["explain", "-O", str(site.config), people.PENGUIN, "-p", "-"]) == 2
    assert "longer than a request can be" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_used_is_status_2(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.config.write_text("ldap_filter: (uid=%u\n")
    assert control.main(["explain", "-O", str(site.config), "--no-password", people.PENGUIN]) == 2
    assert capsys.readouterr().err.startswith(f"pysaslauthctl: {site.config}:1: ldap_filter: ")
    site.people.unlink()
    site.write()
    assert control.main(["explain", "-O", str(site.config), "--no-password", people.PENGUIN]) == 2


def test_a_host_whose_addresses_all_refuse_is_told_in_a_few_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{host}", port)) for host in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    site.ask(f"ldap://ldap.hoge.cxm:{port}")
    told = site.told(people.PENGUIN)
    assert (told["reason"], told["detail"]) == ("directory-down", f"ldap://ldap.hoge.cxm:{port}: Connection refused")


def test_who_may_not_read_the_configuration_is_told_who_may(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write()
    site.config.chmod(0)
    with not_root():
        assert control.main(["explain", "-O", str(site.config), "--no-password", people.PENGUIN]) == 2
    assert capsys.readouterr().err == (
        f"pysaslauthctl: {site.config}: cannot be read: Permission denied; run this as root or as the daemon's user\n"
    )


def test_the_realms_file_that_answers_is_told(site: Site, tmp_path: Path) -> None:
    realms = tmp_path / "realms.d"
    realms.mkdir()
    file = realms / "HOGE.cxm.conf"
    file.touch(0o600)
    file.write_text("ldap_filter: (mail=%U@hoge.cxm)\nldap_auth_method: bind\n")
    site.keys |= {"realm_config": str(realms), "ldap_filter": "(uid=%U)"}
    told = site.told("penguin@hoge.CXM")
    assert (told["verdict"], told["realm_file"], told["method"]) == ("accepted", str(file), "bind")
    assert told["steps"][0]["filter"] == "(mail=penguin@hoge.cxm)"
    assert f"realm file {file}\n" in site.text(people.PENGUIN)[1]
    told = site.told("penguin@other.cxm")
    assert (told["verdict"], told["realm_file"], told["method"]) == ("accepted", None, "custom")
    assert "realm file none for this domain: the main file answers\n" in site.text("penguin")[1]
    site.keys["realm_unlisted"] = "refuse"
    assert site.told(people.PENGUIN)["verdict"] == "accepted"
    for password in (people.PENGUIN_PASSWORD, None):
        told = site.told("penguin@other.cxm", password=password)
        assert (told["reason"], told["realm_file"], told["method"]) == ("unknown-realm", None, "")
        assert told["steps"] == []
    status, out = site.text("penguin")
    assert status == 1
    assert "realm file none for this domain: it is refused\n" in out
    assert site.told("@other.cxm")["reason"] == "empty-login"
    del site.keys["realm_config"], site.keys["realm_unlisted"]
    assert "realm file" not in site.text("penguin")[1]
    assert site.told("penguin")["realm_file"] is None
