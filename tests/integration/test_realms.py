"""Two domains on two real directory servers, behind one daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.test_reload import Load
from pysaslauthd.cli import control
from rig import Authority, Daemon, Slapd, article, people
from rig.needs import need
from rig.saslauthd import conf_text

KEYS = ("ldap_servers", "ldap_filter", "ldap_auth_method")


@pytest.fixture(scope="module")
def other(authority: Authority) -> Iterator[Slapd]:
    """The directory of fuga.cxm: its penguin has another password."""
    need("slapd", "slapadd", "ldapmodify", "ldapsearch")
    with Slapd(authority) as server:
        server.replace(people.PENGUIN_DN, "userPassword", "fuga-pass")
        yield server


def realm(server: Slapd) -> str:
    """fuga.cxm's file: another server, filter and method; suffix and service account are the main file's."""
    keys = article(server, "bind", ldap_filter="(&(objectclass=mailRecipient)(uid=%U))")
    return conf_text({key: keys[key] for key in KEYS})


def known(daemon: Daemon, login: str, domain: str = "") -> list[str]:
    passwords = people.PENGUIN_PASSWORD, "fuga-pass"
    return [password for password in passwords if daemon.probe(login, password, realm=domain).accepted]


def test_each_domain_is_asked_on_its_own_server(slapd: Slapd, other: Slapd, capsys: pytest.CaptureFixture[str]) -> None:
    conf = article(slapd, realm_config="{folder}/realms.d", failure_delay="0")
    with Daemon.running(conf, "-c", files={"realms.d/fuga.cxm.conf": realm(other)}) as daemon:
        for _ in range(2):
            assert known(daemon, people.PENGUIN) == [people.PENGUIN_PASSWORD]
            assert known(daemon, "penguin@fuga.cxm") == known(daemon, "penguin", "FUGA.cxm") == ["fuga-pass"]
        assert daemon.logged("[user=penguin@fuga.cxm]")
        assert control.main(["status", "-m", str(daemon.folder)]) == 0
        shown = capsys.readouterr().out
        assert f"up       {slapd.uri} " in shown
        assert f"up       fuga.cxm {other.uri} " in shown
        # One directory that is down leaves the other realm alone.
        assert control.main(["ping", "--directory", "-m", str(daemon.folder)]) == 0
        other.stop()
        try:
            assert daemon.ask("u1@fuga.cxm", "u1-pass") is None
            assert daemon.ask("u1@hoge.cxm", "u1-pass") == b"OK"
            assert control.main(["ping", "--directory", "-m", str(daemon.folder)]) == 1
            said = capsys.readouterr().err
            assert other.uri in said
            assert slapd.uri not in said
        finally:
            other.start()


def test_check_and_explain_know_the_realm(slapd: Slapd, other: Slapd, capsys: pytest.CaptureFixture[str]) -> None:
    conf = article(slapd, realm_config="{folder}/realms.d", realm_unlisted="refuse")
    with Daemon.running(conf, files={"realms.d/fuga.cxm.conf": realm(other)}) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"NO"
        assert control.main(["check", "-O", str(daemon.conf), "-m", str(daemon.folder)]) < 2
        shown = capsys.readouterr().out
        assert f"\nfuga.cxm: {other.uri}\n" in shown
        assert f"\n{slapd.uri}\n" not in shown
        assert control.main(["explain", "-O", str(daemon.conf), "--no-password", "penguin@fuga.cxm"]) == 0
        assert f"realm file {daemon.folder}/realms.d/fuga.cxm.conf\n" in capsys.readouterr().out
        assert control.main(["explain", "-O", str(daemon.conf), "--no-password", people.PENGUIN]) == 1
        assert "rejected: unknown-realm" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["-c"]])
def test_a_realm_comes_and_goes_under_load(flags: list[str], slapd: Slapd, other: Slapd) -> None:
    conf = article(slapd, realm_config="{folder}/realms.d", failure_delay="0")
    with Daemon.running(conf, *flags, files={"realms.d/.keep": ""}) as daemon:
        file = daemon.folder / "realms.d" / "fuga.cxm.conf"
        with Load(daemon) as load:
            for _ in range(5):
                load.wait(50)
                assert known(daemon, "penguin@fuga.cxm") == []
                file.write_text(realm(other))
                assert control.main(["reload", "-m", str(daemon.folder)]) == 0
                assert known(daemon, "penguin@fuga.cxm") == ["fuga-pass"]
                load.wait(50)
                file.unlink()
                assert control.main(["reload", "-m", str(daemon.folder)]) == 0
        assert set(load.answers) == {(True, b"OK"), (False, b"NO")}
