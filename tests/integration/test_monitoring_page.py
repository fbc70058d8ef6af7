"""What the page on monitoring shows: a real Prometheus scrapes the real daemon as it says, and finds the rules."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from integration.test_probe import OURS
from pysaslauthd.cli import control
from pysaslauthd.cli.probe import EXIT_NOT_OK
from rig import Daemon, people
from rig.daemon import ROOT
from rig.docs import DOCS, options, snippet, snippets
from rig.needs import need
from rig.programs import Program, find, free_port, run, wait_until

PAGE = "how-to/monitoring.md"
RULES = ROOT / "docs/monitoring/alerts.yaml"
CONF = people.file_article()
FILES = {"people.ldif": people.tree(1) + people.person("probe", "probe-pass")}


def test_the_page_shows_what_is_tested_here() -> None:
    assert snippets(PAGE) == {"ping", "login", "options", "prometheus.yml", "promtool"}


def test_every_alert_is_on_the_page_and_no_other() -> None:
    table = re.search(r"(?<=<!-- alerts -->).*(?=<!-- end of alerts -->)", (DOCS / PAGE).read_text(), re.DOTALL)
    assert table
    assert re.findall(r"^\| `(\w+)`", table[0], re.MULTILINE) == re.findall("alert: (.*)", RULES.read_text())


def test_a_script_is_told_whether_the_directory_and_a_login_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ping = shlex.split(snippet(PAGE, "ping"))
    assert ping.pop(0) == "pysaslauthctl"
    password = tmp_path / "probe-password"
    words = shlex.split(snippet(PAGE, "login", {"/etc/pysaslauthd/probe-password": password}))
    assert (words[0], words[-1]) == ("testpysaslauthd", f"<{password}")

    def login(daemon: Daemon) -> int:
        command = [*OURS, *words[1:-1], "-f", str(daemon.mux)]
        with password.open() as given:
            return subprocess.run(command, stdin=given, capture_output=True, timeout=120, check=False).returncode

    password.write_text("probe-pass\n")
    with Daemon.running(CONF, files=FILES) as daemon:
        assert control.main([*ping, "-m", str(daemon.folder)]) == 0
        assert login(daemon) == 0
        password.write_text("wrong\n")
        assert login(daemon) == EXIT_NOT_OK
    with Daemon.running({**CONF, "ldap_servers": "ldap://127.0.0.1:1/"}) as daemon:
        assert daemon.ask(people.PENGUIN, "any") is None
        assert control.main([*ping, "-m", str(daemon.folder)]) == 1
        assert login(daemon) == EXIT_NOT_OK
    assert "127.0.0.1:1" in capsys.readouterr().err


def address(port: int) -> str:
    return f"127.0.0.1:{port}"


def ask(port: int, query: str) -> Any:
    """The data of an answer of Prometheus' own interface."""
    with urllib.request.urlopen(f"http://{address(port)}/api/v1/{query}", timeout=60) as answer:
        return json.loads(answer.read())["data"]


def test_prometheus_scrapes_as_the_page_says(tmp_path: Path) -> None:
    need("prometheus", "promtool")
    port, own = free_port(), free_port()
    rules = tmp_path / "pysaslauthd.yaml"
    shutil.copy(RULES, rules)
    places = {"/etc/prometheus/pysaslauthd.yaml": rules, "127.0.0.1:9797": Path(address(port))}
    text = snippet(PAGE, "prometheus.yml", places)
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + text)
    run(shlex.split(snippet(PAGE, "promtool", {"/etc/prometheus/prometheus.yml": config})))
    prometheus = Program(
        [
            find("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address={address(own)}",
        ],
        log=tmp_path / "log",
        ready=lambda: "Server is ready to receive web requests" in prometheus.said,
        seconds=60,
    )
    flags = options(PAGE, "options", {"127.0.0.1:9797": Path(address(port))})
    with Daemon.running(CONF, *flags, files=FILES) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        prometheus.start()
        try:
            asked = "query?query=" + quote('pysaslauthd_logins_total{job="pysaslauthd",reason="ok",door="mux"} > 0')
            wait_until(lambda: bool(ask(own, asked)["result"]), "the metrics in Prometheus", 30)
            assert ask(own, asked)["result"][0]["value"][1] == "1"
            found = [rule["name"] for group in ask(own, "rules")["groups"] for rule in group["rules"]]
            assert found == re.findall("alert: (.*)", RULES.read_text())
        finally:
            prometheus.stop()
