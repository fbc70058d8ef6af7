"""The real promtool reads the metrics of the real daemon, the alert rules, and what the dashboard asks."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path

import pytest

from rig import Daemon, Slapd, article, people
from rig.daemon import ROOT
from rig.needs import need
from rig.programs import find, free_port, run, wait_until

MONITORING = ROOT / "docs/monitoring"

CASES = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="pysaslauthd", instance="mail"}}', values: '1x5 0x10'}}
      - {{series: 'pysaslauthd_directory_up{{instance="mail", server="ldap://ds1/"}}', values: '1x5 0x30'}}
      - {{series: 'pysaslauthd_directory_up{{instance="mail", server="ldap://ds2/"}}', values: '1x30'}}
      - series: 'pysaslauthd_directory_up{{instance="mail", server="ldap://ds3/", realm="hoge.cxm"}}'
        values: '0x15'
      - {{series: 'pysaslauthd_directory_failures_total{{instance="mail", server="ldap://ds1/"}}', values: '0x5 1x20'}}
      - series: 'pysaslauthd_logins_total{{instance="mail", door="mux", verdict="accepted", reason="ok"}}'
        values: '0+100x30'
      - series: 'pysaslauthd_logins_total{{instance="mail", verdict="unavailable", reason="directory-down"}}'
        values: '0x5 0+10x20'
      - series: 'pysaslauthd_logins_total{{instance="mail", door="mux", verdict="unavailable", reason="overloaded"}}'
        values: '0x30'
      - series: 'pysaslauthd_requests_refused_total{{instance="mail", door="mux", fault="full"}}'
        values: '0x30'
    alert_rule_test:
      - {{eval_time: 4m, alertname: PysaslauthdDown}}
      - eval_time: 8m
        alertname: PysaslauthdDown
        exp_alerts:
          - exp_labels: {{severity: critical, job: pysaslauthd, instance: mail}}
            exp_annotations: {{summary: 'pysaslauthd on mail does not answer: nobody can log in through it'}}
      - eval_time: 15m
        alertname: PysaslauthdNoDirectory
        exp_alerts:
          - exp_labels: {{severity: critical, instance: mail, realm: hoge.cxm}}
            exp_annotations:
              summary: 'pysaslauthd on mail reaches no directory server of hoge.cxm: only cached logins go on'
      - eval_time: 22m
        alertname: PysaslauthdDirectoryServerDown
        exp_alerts:
          - exp_labels: {{severity: warning, instance: mail, server: 'ldap://ds1/'}}
            exp_annotations: {{summary: 'pysaslauthd on mail does not reach ldap://ds1/'}}
      - {{eval_time: 15m, alertname: PysaslauthdDirectoryServerFlaps}}
      - {{eval_time: 4m, alertname: PysaslauthdLoginsUnavailable}}
      - eval_time: 15m
        alertname: PysaslauthdLoginsUnavailable
        exp_alerts:
          - exp_labels: {{severity: critical, instance: mail}}
            exp_annotations: {{summary: '9.091% of the logins on mail cannot be decided'}}
      - {{eval_time: 15m, alertname: PysaslauthdOverloaded}}
      - {{eval_time: 15m, alertname: PysaslauthdConnectionsFull}}
"""


@pytest.fixture(autouse=True)
def promtool() -> str:
    need("promtool")
    return find("promtool")


def test_the_alert_rules_are_valid(promtool: str) -> None:
    run([promtool, "check", "rules", "--lint-fatal", MONITORING / "alerts.yaml"])


def test_the_alerts_are_raised_when_they_should_be(promtool: str, tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(CASES.format(rules=MONITORING / "alerts.yaml"))
    run([promtool, "test", "rules", cases])


def test_what_the_dashboard_asks_is_promql(promtool: str, tmp_path: Path) -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = [each.replace("$__rate_interval", "5m").replace("$instance", ".*") for each in asked]
    assert not [each for each in asked if "$" in each]
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run([promtool, "check", "rules", tmp_path / "rules.yaml"])


def test_the_metrics_are_as_prometheus_wants_them(promtool: str, slapd: Slapd) -> None:
    port = free_port()
    with Daemon.running(article(slapd), "-c", "--metrics", f"127.0.0.1:{port}") as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
        text = ""

        def scraped() -> bool:
            nonlocal text
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            return 'reason="wrong-password",verdict="rejected"} 1.0' in text

        wait_until(scraped, "both logins in the metrics")
        assert f'pysaslauthd_directory_up{{server="{slapd.uri}' in text
    # It asks for a histogram's name to have no unit in the middle, and so on; any word of it is a failure.
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
