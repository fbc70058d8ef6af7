"""What the page on fail2ban shows: a real fail2ban, set up as it says, bans who guesses at the real daemon."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from integration.test_fail2ban import CONF, FILES, SHIPPED, banned, lines_of
from rig import Daemon, people
from rig.daemon import ROOT
from rig.docs import snippet, snippets
from rig.needs import need, need_root
from rig.programs import Program, find, run, wait_until

PAGE = "how-to/fail2ban.md"
GUESSER = "192.0.2.7"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Debian's configuration with what the page installs, for a server that changes no firewall."""
    need_root()
    need("fail2ban-client", "fail2ban-regex", "fail2ban-server")
    config = tmp_path / "fail2ban"
    shutil.copytree("/etc/fail2ban", config)
    shutil.rmtree(config / "jail.d")
    (config / "jail.d").mkdir()
    places = {f"/etc/fail2ban/{name}/": config / name for name in ("filter.d", "jail.d")}
    subprocess.run(["sh", "-ec", snippet(PAGE, "install", places)], check=True, timeout=120, cwd=ROOT)
    log = tmp_path / "auth.log"
    log.touch()
    (config / "jail.local").write_text(
        f"[DEFAULT]\naction =\n\n{snippet(PAGE, 'jail.local', {'/var/log/auth.log': log})}"
    )
    (config / "fail2ban.local").write_text(
        f"[DEFAULT]\nsocket = {tmp_path}/socket\npidfile = {tmp_path}/pid\ndbfile = None\nlogtarget = STDOUT\n"
    )
    return config


def words(name: str, config: Path, paths: dict[str, Path] | None = None) -> list[list[str]]:
    """The command lines of a snippet, for this configuration and this server."""
    lines = [shlex.split(line) for line in snippet(PAGE, name, paths).splitlines()]
    return [[find(line[0]), "-c", str(config), *line[1:]] for line in lines]


def guesses(count: int) -> list[str]:
    """What the daemon logs of so many wrong passwords, with the time as rsyslog would put it in front."""
    with Daemon.running(CONF, files=FILES) as daemon:
        for attempt in range(count):
            assert daemon.ask(people.PENGUIN, f"wrong{attempt}", "smtp", "", GUESSER) == b"NO"
        daemon.program.stop()
        return [time.strftime("%Y-%m-%dT%H:%M:%S+00:00 mail ", time.gmtime()) + line for line in lines_of(daemon)]


def test_the_page_shows_what_is_tested_here() -> None:
    assert snippets(PAGE) == {"install", "jail.local", "test", "regex", "unban", "reasons"}


def test_what_is_installed_is_what_is_shipped(site: Path) -> None:
    for name in ("filter.d", "jail.d"):
        place = Path(name, "pysaslauthd.conf")
        assert (site / place).read_bytes() == (SHIPPED / place).read_bytes()
        assert (site / place).stat().st_mode & 0o777 == 0o644


def test_who_guesses_is_banned_and_let_in_again(site: Path) -> None:
    (test,) = words("test", site)
    assert "OK: configuration test is successful" in run(test)
    lines = guesses(12)
    server = Program(
        [find("fail2ban-server"), "-c", site, "-f", "start"],
        log=site / "server.log",
        ready=lambda: "Server ready" in server.said,
        seconds=60,
    )
    server.start()
    try:
        status, unban = words("unban", site)
        assert GUESSER not in run(status)
        log = site.parent / "auth.log"
        with log.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        wait_until(lambda: f"Banned IP list:\t{GUESSER}" in run(status), "the ban", 30)
        run(unban)
        assert "Currently banned:\t0" in run(status)
    finally:
        server.stop()
    (regex,) = words("regex", site, {"/var/log/auth.log": log})
    assert re.search(r"^Failregex: 11 total", run(regex), re.MULTILINE)


def test_what_counts_can_be_narrowed_as_shown(site: Path) -> None:
    reasons = snippet(PAGE, "reasons").splitlines()[1].removeprefix("filter = ")
    with Daemon.running(CONF, files=FILES) as daemon:
        for user, address in ((people.PENGUIN, GUESSER), ("nobody@hoge.cxm", "192.0.2.8")):
            assert daemon.ask(user, "wrong", "smtp", "", address) == b"NO"
        daemon.program.stop()
        lines = [f"2026-11-24T07:43:42+00:00 mail {line}" for line in lines_of(daemon)]
    assert banned(site, lines, "pysaslauthd") == [GUESSER, "192.0.2.8"]
    assert banned(site, lines, reasons) == [GUESSER]
