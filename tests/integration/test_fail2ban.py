"""The real fail2ban reads what the real daemon, and Postfix in front of it, have written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from integration.mail_servers import flags, smtpds
from rig import Daemon, people
from rig.daemon import ROOT
from rig.dovecot import ask
from rig.needs import need, need_root
from rig.postfix import Postfix
from rig.programs import find, run

SHIPPED = ROOT / "docs/monitoring/fail2ban"
CONF = people.file_article(failure_delay="0")
FILES = {"people.ldif": people.tree(2) + people.person("locked", more="nsAccountLock: true\n")}
STAMPS = {
    "rsyslog's own": "2026-11-24T07:43:42.123456+00:00 mail {}",
    "the traditional one": "Nov 24 07:43:42 mail {}",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Debian's configuration with the shipped filter and jail in their places, and no other jail."""
    need("fail2ban-regex", "fail2ban-client")
    made = tmp_path / "fail2ban"
    shutil.copytree("/etc/fail2ban", made)
    shutil.rmtree(made / "jail.d")
    shutil.copytree(SHIPPED, made, dirs_exist_ok=True)
    return made


def banned(config: Path, lines: list[str], name: str) -> list[str]:
    """The addresses that a filter finds, in the order of the lines."""
    file = config / "log"
    file.write_text("".join(f"{line}\n" for line in lines))
    said = run([find("fail2ban-regex"), "-c", config, "-o", "ip", file, name])
    return [line for line in said.splitlines() if re.fullmatch("[0-9a-f.:]+", line)]


def lines_of(daemon: Daemon) -> list[str]:
    """What a syslog daemon would write but for its stamp."""
    return [line for line in daemon.log.splitlines() if line.startswith("saslauthd[")]


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the daemon says of logins of all sorts, the address telling which."""
    outage = {**CONF, "ldap_servers": "ldap://127.0.0.1:1/"}
    lines = []
    with Daemon.running(CONF, "-V", "--dovecot-socket", "{folder}/auth", files=FILES) as daemon:
        auth = daemon.folder / "auth"
        assert (ask(auth, people.PENGUIN, "wrong", "rip=192.0.2.1", "lip=192.0.2.200") or "").startswith("FAIL")
        assert (ask(auth, people.PENGUIN, "wrong", "rip=2001:db8::1", "secured") or "").startswith("FAIL")
        assert daemon.ask(people.PENGUIN, "wrong", "imap", "", "192.0.2.2;4567") == b"NO"
        assert daemon.ask("nobody@hoge.cxm", "wrong", "imap", "", "192.0.2.3") == b"NO"
        assert daemon.ask("x] [remote=198.51.100.1] [y=", "wrong", "imap", "", "192.0.2.4") == b"NO"
        assert daemon.ask(people.PENGUIN, "", "imap", "", "192.0.2.5") == b"NO"
        # None of these is a guess, or none can be blamed for it.
        assert daemon.ask("x\nsaslauthd[1]: do_auth         : auth failure: [user=", "w", "imap", "", "") == b"NO"
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD, "imap", "", "198.51.100.2") == b"OK"
        assert daemon.ask("locked@hoge.cxm", "locked-pass", "imap", "", "198.51.100.3") == b"NO"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
        assert daemon.logged("[remote=198.51.100.3]")
        daemon.program.stop()
        lines += lines_of(daemon)
    with Daemon.running(outage) as daemon:
        assert daemon.ask(people.PENGUIN, "wrong", "imap", "", "198.51.100.4") is None
        assert daemon.logged("[remote=198.51.100.4]")
        daemon.program.stop()
        lines += lines_of(daemon)
    return lines


GUESSES = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]


@pytest.mark.parametrize("stamp", STAMPS)
def test_the_shipped_filter_finds_who_guesses_and_nobody_else(config: Path, said: list[str], stamp: str) -> None:
    assert banned(config, [STAMPS[stamp].format(line) for line in said], "pysaslauthd") == GUESSES


def test_the_same_from_the_journal(config: Path, said: list[str]) -> None:
    lines = [STAMPS["rsyslog's own"].format(line) for line in said]
    assert banned(config, lines, "pysaslauthd[logtype=journal]") == GUESSES


def test_what_counts_can_be_changed(config: Path, said: list[str]) -> None:
    lines = [STAMPS["rsyslog's own"].format(line) for line in said]
    assert banned(config, lines, "pysaslauthd[reasons=unknown-user]") == ["192.0.2.3", "192.0.2.4"]
    assert "198.51.100.3" in banned(config, lines, r"pysaslauthd[reasons=\S+]")


def test_a_flood_is_seen_often_enough_to_be_banned(config: Path) -> None:
    with Daemon.running(CONF, files=FILES) as daemon:
        for attempt in range(50):
            assert daemon.ask(people.PENGUIN, f"wrong{attempt}", "imap", "", f"192.0.2.1;{1024 + attempt}") == b"NO"
        daemon.program.stop()
        lines = [STAMPS["rsyslog's own"].format(line) for line in lines_of(daemon)]
    assert lines[-1].endswith(" [repeated=40]"), lines
    assert banned(config, lines, "pysaslauthd") == ["192.0.2.1"] * 11


def test_the_shipped_jail_is_valid(config: Path) -> None:
    run([find("fail2ban-client"), "-c", config, "-t"])
    dumped = run([find("fail2ban-client"), "-c", config, "-d"])
    assert "['add', 'pysaslauthd', 'systemd']" in dumped
    assert "['set', 'pysaslauthd', 'addjournalmatch', 'SYSLOG_IDENTIFIER=saslauthd']" in dumped


def test_no_stock_filter_knows_saslauthd_so_that_none_can_be_misled(config: Path, said: list[str]) -> None:
    lines = [STAMPS["the traditional one"].format(line) for line in said]
    for name in (
        "postfix[mode=aggressive]",
        "cyrus-imap",
        "sieve",
        "dovecot[mode=aggressive]",
        "exim[mode=aggressive]",
    ):
        assert banned(config, lines, name) == []


@pytest.mark.parametrize(("door", "counts"), [("dovecot", False), ("cyrus", True)])
def test_postfixs_own_lines_go_on_being_counted(config: Path, door: str, counts: bool) -> None:
    """Its stock filter takes an outage behind Cyrus SASL for a guess, and one behind the Dovecot socket not."""
    need_root()
    need("postfix")
    with Postfix.running(smtpds) as postfix:
        with Daemon.running(CONF, *flags(postfix.folder), files=FILES):
            assert postfix.login(door, "PLAIN", people.PENGUIN, "wrong").code == 535
        before = banned(config, postfix.maillog.splitlines(), "postfix[mode=auth]")
        assert before == ["127.0.0.1"]
        with Daemon.running({**CONF, "ldap_servers": "ldap://127.0.0.1:1/"}, *flags(postfix.folder)):
            assert postfix.login(door, "PLAIN", people.PENGUIN, "wrong").code == 454
        after = banned(config, postfix.maillog.splitlines(), "postfix[mode=auth]")
        assert after == before * (2 if counts else 1), postfix.maillog
