"""``pysaslauthctl check``: the configuration, walked step by step."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import click

from pysaslauthd.cli.parameters import config_option, run_dir_option
from pysaslauthd.cli.terminal import milliseconds, say
from pysaslauthd.inspection.check import check
from pysaslauthd.inspection.step import Result, Step

EXIT_STATUS = {Result.OK: 0, Result.SKIPPED: 0, Result.WARNING: 1, Result.ERROR: 2}
"""By the worst step."""

_COLOURS: dict[Result, dict[str, Any]] = {
    Result.OK: {"fg": "green"},
    Result.WARNING: {"fg": "yellow"},
    Result.ERROR: {"fg": "red"},
    Result.SKIPPED: {"dim": True},
}
_ROW = "  {:<8} {:<20} {:>9}  {}"
_INDENT = " " * 42


@click.command(
    "check",
    epilog="Exit status: 0 where all is well, 1 where there are warnings, 2 where there are errors.",
)
@config_option
@run_dir_option("Where the socket mux is")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, config: Path, run_dir: Path, as_json: bool) -> int:
    """Walk the configuration step by step: the file, the socket, each server as a login would go.

    Needs no daemon. Run it as the daemon's user, or as root.
    """
    # The steps tell what the parts would log.
    logging.getLogger("pysaslauthd").addHandler(logging.NullHandler())
    steps = asyncio.run(_walk(config.absolute(), run_dir, show=not as_json))
    worst = max((step.result for step in steps), key=EXIT_STATUS.__getitem__)
    if as_json:
        result = Result.OK if worst is Result.SKIPPED else worst
        click.echo(json.dumps({"result": result.value, "steps": [_object(step) for step in steps]}, indent=2))
    else:
        counts = Counter(step.result for step in steps)
        say()
        say(", ".join(f"{counts[result]} {result.value}" for result in Result if counts[result]), **_COLOURS[worst])
    return EXIT_STATUS[worst]


async def _walk(config: Path, run_dir: Path, *, show: bool) -> list[Step]:
    steps: list[Step] = []
    async for step in check(config, run_dir):
        if show:
            if not steps or steps[-1].subject != step.subject:
                say(step.subject, bold=True)
            _show(step)
        steps.append(step)
    return steps


def _show(step: Step) -> None:
    say(
        _ROW.format(step.result.value, step.what, milliseconds(step.milliseconds), step.detail), **_COLOURS[step.result]
    )
    if step.advice:
        say(f"{_INDENT}to do: {step.advice}")


def _object(step: Step) -> dict[str, Any]:
    took = None if step.milliseconds is None else round(step.milliseconds, 3)
    return step._asdict() | {"result": step.result.value, "milliseconds": took}
