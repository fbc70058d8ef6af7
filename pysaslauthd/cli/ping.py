"""``pysaslauthctl ping``."""

from __future__ import annotations

from pathlib import Path

import click

from pysaslauthd.cli.client import ask, daemon_option

ANSWER_SECONDS = 5.0
"""Longest time for a reply: a daemon that takes longer does not answer logins in time either."""


@click.command("ping", epilog="Exit status: 0 if it answers, 1 if not.")
@daemon_option
@click.option("--directory", is_flag=True, help="Only if a directory server can be reached, too.")
def command(*, run_dir: Path, directory: bool) -> None:
    """Ask whether the daemon answers; for monitors."""
    reply = ask(run_dir, "ping", seconds=ANSWER_SECONDS, directory=directory)
    click.echo(f"pysaslauthd {reply['version']} answers")
