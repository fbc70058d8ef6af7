"""The command that ``scripts/fuzz`` runs."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from rig.daemon import ROOT

SECONDS = 600
_LONGEST = {"mux": 20_000, "dovecot": 20_000, "ldap": 4096, "ldif": 4096, "config": 4096}
"""Bytes of one input at most: past the parser's own limit where that is near, else as much as stays quick."""
_SLOWEST = 10
"""Seconds after which one input counts as a finding."""
_MEGABYTES = 1500


class Run(NamedTuple):
    """What came of one target."""

    target: str
    seconds: float
    executions: int
    inputs: int
    """Kept, because each reached something new."""
    features: int
    findings: list[Path]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, type=click.Choice([*TARGETS]))
@click.option("--seconds", type=click.IntRange(1), default=SECONDS, show_default=True, help="For each target.")
@click.option(
    "--work", type=click.Path(path_type=Path), default=ROOT / ".fuzz", help="What is kept from run to run.  [.fuzz]"
)
@click.pass_context
def main(context: click.Context, *, targets: Sequence[str], seconds: int, work: Path) -> None:
    """Fuzz the parsers, one after the other, all or those named. The exit status is 1 where something was found."""
    runs = []
    for target in targets or [*TARGETS]:
        runs.append(fuzz(target, seconds, work.absolute() / target))
        click.echo(said(runs[-1]))
    context.exit(1 if any(run.findings for run in runs) else 0)


def said(run: Run) -> str:
    """One line about a run, and one for each finding."""
    line = (
        f"{run.target}: {run.seconds:.0f} s, {run.executions} inputs tried, {run.inputs} kept, {run.features} features"
    )
    return "\n".join([f"{line}, {len(run.findings)} findings", *(f"  {path}" for path in run.findings)])


def fuzz(target: str, seconds: int, folder: Path) -> Run:
    """Fuzz one target in processes of their own, anew after each finding, until the time is over."""
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for seed in seeds(target):
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    before = {*findings.iterdir()}
    began = time.monotonic()
    executions = features = 0
    while (left := round(seconds - (time.monotonic() - began))) > 0:
        known = {*findings.iterdir()}
        executed, reached = _once(target, left, corpus, folder)
        executions += executed
        features = max(features, reached)
        if not {*findings.iterdir()} - known and not executed:
            raise click.ClickException(f"{target}: the harness does not run, see {folder / 'log'}")
    found = sorted({*findings.iterdir()} - before)
    return Run(target, time.monotonic() - began, executions, len([*corpus.iterdir()]), features, found)


def _once(target: str, seconds: int, corpus: Path, folder: Path) -> tuple[int, int]:
    """Run the harness until its first finding; inputs tried, and features reached (edges by how often)."""
    options = {
        "max_total_time": seconds,
        "timeout": _SLOWEST,
        "rss_limit_mb": _MEGABYTES,
        "max_len": _LONGEST[target],
        "artifact_prefix": f"{folder / 'findings'}/",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "fuzz.harness", target, *(f"-{name}={value}" for name, value in options.items())]
    with (folder / "log").open("ab+") as log:
        start = log.seek(0, 2)
        subprocess.run([*command, str(corpus)], stdout=log, stderr=log, cwd=ROOT, check=False)
        log.seek(start)
        text = log.read().decode(errors="replace")
    executed = re.findall(r"^(?:#(\d+)\s|stat::number_of_executed_units: (\d+))", text, re.MULTILINE)
    reached = re.findall(r" ft: (\d+)", text)
    return max((int(one or other) for one, other in executed), default=0), max(map(int, reached), default=0)


if __name__ == "__main__":
    main(prog_name="scripts/fuzz")
