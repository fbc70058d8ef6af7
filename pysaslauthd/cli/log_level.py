"""``pysaslauthctl log-level``."""

from __future__ import annotations

from pathlib import Path

import click

from pysaslauthd.cli.client import ask, daemon_option
from pysaslauthd.log import LEVELS


@click.command("log-level")
@daemon_option
@click.argument("level", type=click.Choice([*LEVELS]))
def command(*, run_dir: Path, level: str) -> None:
    """Log more or less, until the daemon ends or is told otherwise.

    debug: accepted logins too, as with -V; info: rejected ones too; warning: undecided ones, and what is out of order;
    error: what is broken.
    """
    reply = ask(run_dir, "log-level", level=level)
    click.echo(f"log level {reply['level']}, before {reply['before']}")
