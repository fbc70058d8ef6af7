from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import pytest

from pysaslauthd.cli import control, status
from pysaslauthd.cli.status import span

DAY = 86400
STATUS: dict[str, Any] = {
    "version": "1.0.0",
    "pid": 4711,
    "uptime_seconds": 3 * DAY + 4 * 3600 + 59,
    "configuration": {
        "file": "/etc/saslauthd.conf",
        "loaded_seconds_ago": 60,
        "reloads": 1,
        "failed_reloads": 0,
        "error": "",
    },
    "logins": {
        "accepted": 1234567,
        "rejected": 0,
        "unavailable": 0,
        "reasons": {"ok": 1234567},
        "per_second": 0.0,
        "median_ms": None,
        "p99_ms": None,
        "pending": 0,
    },
    "cache": None,
    "directory": [
        {"server": "ldap://a/", "up": None, "seconds": 1, "error": "", "connections": 0, "in_flight": 0, "realm": ""},
        {
            "server": "ldap://bb/",
            "up": True,
            "seconds": 1,
            "error": "hung",
            "connections": 2,
            "in_flight": 1,
            "realm": "",
        },
    ],
    "watch": [
        {
            "realm": "",
            "covered": False,
            "servers": [
                {
                    "server": "ldap://a/",
                    "watching": False,
                    "how": "",
                    "seconds": 3,
                    "error": "refused",
                    "changes": 0,
                    "losses": 1,
                },
                {
                    "server": "ldap://bb/",
                    "watching": True,
                    "how": "persistent search",
                    "seconds": 60,
                    "error": "",
                    "changes": 1234,
                    "losses": 0,
                },
            ],
        },
        {"realm": "b.cxm", "covered": False, "servers": []},
    ],
    "doors": [{"door": "mux", "path": "/run/saslauthd/mux", "open": 1000}],
    "delayed": {
        "now": 3,
        "users": 60,
        "addresses": 1,
        "named_users": ["penguin@hoge.cxm", "u0@hoge.cxm"],
        "named_addresses": ["192.0.2.7"],
    },
    "log_level": "info",
}
SHOWN = """\
pysaslauthd 1.0.0  pid 4711, up 3 d 4 h
configuration  /etc/saslauthd.conf, loaded 1 min 0 s ago
log level      info
logins         1,234,567 accepted, 0 rejected, 0 unavailable
               now 0.0 per second, 0 under way
cache          none
directory      untried  ldap://a/
               up       ldap://bb/  for 1 s, connections 2, requests in flight 1
               earlier  hung
watch          untold   ldap://a/  for 3 s
                        refused
               told     ldap://bb/  for 1 min 0 s, by persistent search, changes 1,234
               none     b.cxm
sockets        mux      /run/saslauthd/mux  connections 1,000
delayed        users: penguin@hoge.cxm, u0@hoge.cxm and 58 more
               addresses: 192.0.2.7
               3 answers are held back now
"""


class Watched(Exception):
    """The test has seen enough."""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (2 * DAY + 59, "2 d 0 h"),
        (400 * DAY, "400 d 0 h"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_what_there_is_is_shown_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "ask", lambda run_dir, command: STATUS)
    assert control.main(["status"]) == 0
    assert capsys.readouterr().out == SHOWN
    assert control.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_a_realms_own_servers_are_told_from_the_main_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = [STATUS["directory"][0], STATUS["directory"][0] | {"realm": "hoge.cxm"}]
    monkeypatch.setattr(status, "ask", lambda run_dir, command: STATUS | {"directory": servers})
    assert control.main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "directory      untried  ldap://a/\n               untried  hoge.cxm ldap://a/\n" in shown
    monkeypatch.setattr(status, "ask", lambda run_dir, command: STATUS | {"directory": []})
    assert control.main(["status"]) == 0
    assert "directory      none: no realm has one\n" in capsys.readouterr().out


def test_watching_goes_on_while_the_daemon_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[Path] = []

    def ask(run_dir: Path, command: str) -> dict[str, Any]:
        looks.append(run_dir)
        if len(looks) == 2:
            raise click.ClickException("it is not running")
        return STATUS

    def sleep(seconds: float) -> None:
        assert seconds == 1.0
        if len(looks) == 3:
            raise Watched

    monkeypatch.setattr(status, "ask", ask)
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Watched):
        control.main(["status", "--watch", "--json", "-m", "/run/x"])
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first, second, third) == (STATUS, {"error": "it is not running"}, STATUS)
    looks.clear()
    with pytest.raises(Watched):
        control.main(["status", "-w"])
    assert capsys.readouterr().out.count("it is not running\n") == 1
