"""The results of runs: kept as JSON, judged against the aims, and written into the page about performance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import work
from bench.peers import DOVECOT, ORIGINAL, OURS, OURS_DOVECOT
from bench.plot import TIMES, bars
from bench.rounds import WITHOUT, Figures, Measured
from rig.daemon import ROOT

Results = dict[str, Any]
"""machine, rows by key, limits, start_seconds, memory, profile, sweeps: each if it has been measured."""

DOCS = ROOT / "docs"
_BEGIN = "<!-- figures of {}: scripts/bench writes from here -->"
_END = "<!-- to here -->"
_PICTURE = "![Logins a second by kind of work](performance.svg)"


class Check(NamedTuple):
    """One aim and what was measured."""

    title: str
    measured: float | None
    aim: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the aim is met."""
        if self.measured is None:
            return False
        return self.measured >= self.aim if self.at_least else self.measured <= self.aim

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{_times(self.measured)} ({sign} {self.aim:g}{'' if self.met else ', **not met**'})"


def checks(row: work.Row, measured: Measured) -> list[Check]:
    """The aims of a row."""
    found = [
        Check("logins/s", measured.rate, row.rate, at_least=True) if row.rate else None,
        Check("CPU per login", measured.cpu, row.cpu, at_least=False) if row.cpu else None,
        Check("median latency", measured.latency, row.latency, at_least=False) if row.latency else None,
    ]
    return [check for check in found if check]


def plain(measured: Measured) -> dict[str, Any]:
    """A row's measurement in JSON's types."""
    return {**measured._asdict(), "figures": {name: each._asdict() for name, each in measured.figures.items()}}


def measurement(found: dict[str, Any]) -> Measured:
    """The inverse of :func:`plain`."""
    return Measured(**{**found, "figures": {name: Figures(**each) for name, each in found["figures"].items()}})


def rows(results: Results) -> Iterator[tuple[work.Row, Measured]]:
    """What has been measured, in the order of ``work.ROWS``."""
    for row in work.ROWS:
        if row.key in results.get("rows", {}):
            yield row, measurement(results["rows"][row.key])


def table(results: Results) -> str:
    """The comparison as a Markdown table, and the other aims below it."""
    peers = (OURS, ORIGINAL, DOVECOT, OURS_DOVECOT)
    head = ["work", "in flight", *peers, "logins/s, ratio", "CPU per login, ratio", "median latency, ratio"]
    lines = [_line(head), _line(["---"] * len(head))]
    faults = []
    for row, measured in rows(results):
        by_title = {check.title: str(check) for check in checks(row, measured)}
        ratios = [
            by_title.get(title, _times(value))
            for title, value in (
                ("logins/s", measured.rate),
                ("CPU per login", measured.cpu),
                ("median latency", measured.latency),
            )
        ]
        lines.append(_line([row.title, str(row.in_flight), *(_cell(measured, name) for name in peers), *ratios]))
        for name, figures in measured.figures.items():
            if figures.faults or figures.unanswered:
                text = f"{name} failed {figures.faults} logins and left {figures.unanswered} waiting"
                faults.append(f"- {row.title}, {row.in_flight} in flight: {text}.")
    own = [
        f"- {row.title}: the ratio is to this daemon's own rate without them, {measured.figures[WITHOUT].rate:,.0f}/s."
        for row, measured in rows(results)
        if row.held
    ]
    compared = [*lines, ""] if results.get("rows") else []
    return "\n".join([*compared, *own, *faults, *_other_aims(results)])


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} {TIMES}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(measured: Measured, name: str) -> str:
    figures = measured.figures.get(name)
    if figures is None:
        return ""
    if not figures.rate:
        return "0/s"
    return f"{figures.rate:,.0f}/s, {figures.cpu_us:.0f} µs, {figures.p50_ms:.2f} ms"


def _other_aims(results: Results) -> list[str]:
    lines = []
    for method, rate in results.get("limits", {}).items():
        lines.append(f"- libldap alone, {method}: {rate:,.0f}/s, the most that the directory allows.")
    if (start := results.get("start_seconds")) is not None:
        lines.append(_aim("Start to READY", start, work.START_SECONDS, "s"))
    if memory := results.get("memory"):
        last = max(memory["resident_mb"], key=int)
        after = f"Resident after {int(last):,} logins of {memory['people']:,} people, cache full"
        lines.append(_aim(after, memory["resident_mb"][last], work.MEMORY_MB, "MB"))
        growth = f"Growth from login {work.GROWTH_FROM:,} on"
        lines.append(_aim(growth, memory["growth_mb"], work.GROWTH_MB, "MB"))
        if memory["faults"]:
            lines.append(f"- {memory['faults']} of these logins failed.")
    return lines


def _aim(title: str, measured: float, aim: float, unit: str) -> str:
    return f"- {title}: {measured:.2f} {unit} (≤ {aim:g} {unit}{'' if measured <= aim else ', **not met**'})."


def profiles(results: Results) -> str:
    """Where the microseconds go, by kind of work, and the sweeps."""
    lines = []
    for title, found in results.get("profile", {}).items():
        lines += [f"{title}: {found['cpu_us']:.0f} µs of CPU time per login ({found['samples']} samples)", ""]
        lines += [_line(["stage", "µs", "share"]), _line(["---"] * 3)]
        for stage, cost in found["stages"].items():
            if cost >= found["cpu_us"] / 200:
                lines.append(_line([stage, f"{cost:.1f}", f"{cost / found['cpu_us']:.0%}"]))
        lines.append("")
    for title, points in results.get("sweeps", {}).items():
        lines += [_line([title, "logins/s", "CPU per login"]), _line(["---"] * 3)]
        lines += [_line([f"{value:,}", f"{rate:,.0f}", f"{cost:.0f} µs"]) for value, rate, cost in points]
        lines.append("")
    return "\n".join(lines).rstrip()


def met(results: Results) -> bool:
    """Whether every aim is met of what has been measured, and no login of this daemon failed."""
    memory = results.get("memory")
    return (
        all(check.met for row, found in rows(results) for check in checks(row, found))
        and not any(found.figures[OURS].faults for _, found in rows(results))
        and results.get("start_seconds", 0) <= work.START_SECONDS
        and (memory is None or (_last(memory) <= work.MEMORY_MB and memory["growth_mb"] <= work.GROWTH_MB))
    )


def _last(memory: dict[str, Any]) -> float:
    """Memory after the last login; the number of logins is text after a way through JSON."""
    resident: dict[Any, float] = memory["resident_mb"]
    return resident[max(resident, key=int)]


def _kept(folder: Path, *, pypy: bool) -> Path:
    return folder / ("performance-pypy.json" if pypy else "performance.json")


def load(folder: Path = DOCS, *, pypy: bool = False) -> Results:
    """What earlier runs have written: those with PyPy, or all others."""
    path = _kept(folder, pypy=pypy)
    found: Results = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(results: Results, folder: Path = DOCS, *, pypy: bool = False) -> None:
    """Write the results as JSON and between the marks of performance.md; and, but those with PyPy, performance.svg."""
    _kept(folder, pypy=pypy).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    page = (folder / "performance.md").read_text()
    if pypy:
        page = between(page, "the comparison with PyPy", f"{results['machine']}\n\n{table(results)}")
        (folder / "performance.md").write_text(page)
        return
    page = between(page, "the comparison", f"{_PICTURE}\n\n{results['machine']}\n\n{table(results)}")
    page = between(page, "the profile", profiles(results) or "Not measured yet: `scripts/bench --profile --write`.")
    (folder / "performance.md").write_text(page)
    (folder / "performance.svg").write_text(plot(results))


def plot(results: Results) -> str:
    """The comparison as a picture; a directory far away and held connections are on another scale, so not in it."""
    groups = [
        (
            f"{row.title}, {row.in_flight} in flight",
            {name: figures.rate for name, figures in measured.figures.items()},
            None if row.cached else results.get("limits", {}).get(row.method),
        )
        for row, measured in rows(results)
        if not row.delayed and not row.held
    ]
    return bars(groups, base=ORIGINAL)


def between(page: str, name: str, text: str) -> str:
    """The page with the text between the marks of that name; ValueError where there are none."""
    begin = _BEGIN.format(name)
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(_END)
    if not found or not closed:
        raise ValueError(f"no marks: {begin} … {_END}")
    return f"{head}{begin}\n\n{text}\n\n{_END}{tail}"
