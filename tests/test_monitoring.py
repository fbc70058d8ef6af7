"""What docs/monitoring asks of the metrics is there, and docs/reference/metrics.md tells of all of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server.test_exposition import READINGS
from test_house import ROOT

from pysaslauthd.metrics import Fault, Metrics
from pysaslauthd.model import Door
from pysaslauthd.server.exposition import Exposition

MONITORING = ROOT / "docs/monitoring"
PAGE = ROOT / "docs/reference/metrics.md"
_TABLE = re.compile(r"(?<=<!-- metrics -->\n).*(?=<!-- end of metrics -->)", re.DOTALL)
_METRIC = re.compile(r"\b(?:pysaslauthd|process)_\w+")
_FAULTS: dict[tuple[Door, Fault], int] = {
    (door, fault): 0 for door in ("mux", "dovecot") for fault in ("malformed", "incomplete", "late", "full")
}
# Prometheus itself puts them on what it scrapes.
_TARGET_LABELS = {"instance", "job"}


class Row(NamedTuple):
    """One metric of the page."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def text() -> str:
    of_realm = READINGS.servers[0]._replace(realm="hoge.cxm")
    readings = READINGS._replace(faults=_FAULTS, servers=[*READINGS.servers, of_realm])
    return Exposition(Metrics(), lambda: readings).text().decode()


def rows() -> list[Row]:
    """Every metric, in the order in which they are served."""
    found = []
    for family in text_string_to_metric_families(text()):
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        name = family.name + ("_total" if family.type == "counter" else "")
        found.append(Row(name, family.type, tuple(labels), family.documentation))
    return found


def series() -> dict[str, dict[str, set[str]]]:
    """By the name of a sample: its labels, each with the values that it may have."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Each PromQL expression, and where it stands."""
    alerts = (MONITORING / "alerts.yaml").read_text()
    yield from re.findall(r"^      - alert: (\w+)\n        expr: ((?:\|\n(?: {10}.*\n)+)|.*\n)", alerts, re.MULTILINE)
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


EXPRESSIONS = list(expressions())


def test_the_expressions_are_found() -> None:
    alerts = (MONITORING / "alerts.yaml").read_text()
    assert len(EXPRESSIONS) > 40
    assert {where for where, _ in EXPRESSIONS} >= set(re.findall("alert: (.*)", alerts))


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_an_expression_asks_for_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    known = series()
    named = set(_METRIC.findall(expression))
    assert named or expression.startswith("up{"), where
    assert named <= known.keys(), where
    labels = {label for name in named for label in known[name]} | _TARGET_LABELS
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)(!=|=~|=)"([^"]*)"', matchers):
            if label in _TARGET_LABELS:
                continue
            assert operator in ("=", "!="), where
            assert value in known[name][label], f"{where}: {name} has no {label}={value}"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(grouped.split(", ")) <= labels, where


def test_each_metric_of_ours_is_shown_or_watched() -> None:
    asked = {name for _, expression in EXPRESSIONS for name in _METRIC.findall(expression)}
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    assert {row.name for row in rows() if row.name.startswith("pysaslauthd_")} <= shown


def test_the_names_of_the_dashboards_panels_and_their_places_are_their_own() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_page_tells_of_every_metric() -> None:
    lines = ["", "| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for row in rows():
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.meaning} |")
    table = "\n".join([*lines, "", ""])
    page = PAGE.read_text()
    assert _TABLE.search(page)
    if os.environ.get("PYSASLAUTHD_WRITE_OUTPUT") == "1":
        page = _TABLE.sub(lambda _: table, page)
        PAGE.write_text(page)
    assert table in page, f"{PAGE} is stale: set PYSASLAUTHD_WRITE_OUTPUT=1 to write it"
