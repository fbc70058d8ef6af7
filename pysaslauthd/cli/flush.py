"""``pysaslauthctl flush``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pysaslauthd.cli.client import ask, daemon_option
from pysaslauthd.wire.control import text_of


@click.command("flush")
@daemon_option
@click.option("-r", "--realm", default="", metavar="REALM", help="Realm of the logins without @domain.")
@click.argument("users", metavar="[USER]...", nargs=-1)
def command(*, run_dir: Path, realm: str, users: tuple[str, ...]) -> None:
    """Forget cached logins: those of these users, however they are typed, or all.

    The next login of each is asked of the directory.
    """
    if realm and not users:
        raise click.UsageError("-r: says whose realm? Name the users too")
    # Words of a command line that are no text in its locale are bytes all the same.
    names = [text_of(os.fsencode(user)) for user in users]
    if names:
        flushed = ask(run_dir, "flush", users=names, realm=text_of(os.fsencode(realm)))["flushed"]
    else:
        flushed = ask(run_dir, "flush")["flushed"]
    click.echo(f"{flushed} {'entry' if flushed == 1 else 'entries'} forgotten")
