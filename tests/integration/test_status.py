"""``pysaslauthctl status`` on a daemon that asks a real 389 DS; what it prints is what the documentation shows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pysaslauthd import __version__
from pysaslauthd.cli import control
from rig import Authority, Daemon, Ds389, Slapd, article, people
from rig.golden import compare
from rig.needs import need
from rig.programs import wait_until

SHOWN = [
    (rf"pysaslauthd {re.escape(__version__)}  pid \d+", "pysaslauthd 1.0.0  pid 4711"),
    (r"(up|ago|for|earlier|loaded) ?(\d+ min )?\d+ s\b", r"\1 0 s"),
    (
        r"now [\d.]+ per second, half within [\d.]+ ms, 99 % within [\d.]+ ms",
        "now 1.2 per second, half within 2.8 ms, 99 % within 501.7 ms",
    ),
]
"""What is only this run's, and what the documentation shows in its place."""


def status(daemon: Daemon, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    capsys.readouterr()
    assert control.main(["status", "-m", str(daemon.folder), *flags]) == 0
    return capsys.readouterr().out


def shown(text: str, daemon: Daemon, server: Ds389) -> str:
    text = text.replace(str(daemon.conf), "/etc/saslauthd.conf").replace(str(daemon.folder), "/run/saslauthd")
    first, second = "ldaps://ldap1.hoge.cxm/", "ldaps://ldap2.hoge.cxm/"
    text = text.replace(server.ldaps_uri, second)
    text = re.sub(r"ldaps://localhost:1/( *)(?=  for)", first, text).replace("ldaps://localhost:1/", first)
    text = re.sub(r"(?<=/mux) +", "  ", text)
    for pattern, word in SHOWN:
        text = re.sub(pattern, word, text)
    return text


def test_it_shows_the_watch(slapd: Slapd, capsys: pytest.CaptureFixture[str]) -> None:
    with Daemon.running(article(slapd, "custom", ldap_watch="yes"), "-c") as daemon:
        wait_until(lambda: "every change of the directory is told" in daemon.log, "the watch")
        (watch,) = json.loads(status(daemon, capsys, "--json"))["watch"]
        assert (watch["realm"], watch["covered"]) == ("", True)
        (server,) = watch["servers"]
        assert (server["server"], server["watching"], server["error"]) == (slapd.uri, True, "")


def test_it_shows_logins_cache_directory_and_who_is_delayed(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority, users=3) as server:
        keys = {
            "ldap_servers": f"ldaps://localhost:1/ {server.ldaps_uri}",
            "ldap_tls_cacert_file": str(authority.certificate),
        }
        with Daemon.running(article(server, "custom", **keys), "-c", "--dovecot-socket", "{folder}/auth") as daemon:
            for _ in range(3):
                for number in range(3):
                    assert daemon.ask(f"u{number}@hoge.cxm", f"u{number}-pass") == b"OK"
            for number in range(7):
                assert daemon.ask(people.PENGUIN, f"guess-{number}") == b"NO"
            assert daemon.ask("nobody@hoge.cxm", "x") == b"NO"
            text = status(daemon, capsys)
            told: dict[str, Any] = json.loads(status(daemon, capsys, "--json"))
            compare("status.txt", shown(text, daemon, server))

            logins, cache = told["logins"], told["cache"]
            assert (logins["accepted"], logins["rejected"], logins["unavailable"]) == (9, 8, 0)
            assert logins["reasons"] == {"ok": 9, "unknown-user": 1, "wrong-password": 7}
            assert 0 < logins["median_ms"] <= logins["p99_ms"]
            assert (cache["entries"], cache["hits"], cache["hit_rate"]) == (3, 6, round(6 / 17, 4))
            first, second = told["directory"]
            assert (first["up"], second["up"]) == (False, True)
            assert first["error"] == "ldaps://localhost:1/: Connection refused"
            assert second["connections"] >= 1
            assert told["delayed"]["named_users"] == ["penguin@hoge.cxm"]
            assert [door["door"] for door in told["doors"]] == ["mux", "dovecot"]

            server.stop()
            assert daemon.ask("nobody@hoge.cxm", "x") is None
            told = json.loads(status(daemon, capsys, "--json"))
            assert [each["up"] for each in told["directory"]] == [False, False]
            assert told["logins"]["unavailable"] == 1
            assert control.main(["ping", "-m", str(daemon.folder)]) == 0
            assert control.main(["ping", "--directory", "-m", str(daemon.folder)]) == 1
            assert "Connection refused" in capsys.readouterr().err
            server.start()
            wait_until(lambda: control.main(["ping", "--directory", "-m", str(daemon.folder)]) == 0, "the directory")
