"""``pysaslauthctl reload``."""

from __future__ import annotations

from pathlib import Path

import click

from pysaslauthd.cli.client import ask, daemon_option


@click.command("reload")
@daemon_option
def command(*, run_dir: Path) -> None:
    """Read the configuration anew: saslauthd.conf, the files of TLS and passwords that it names, the LDIF file.

    No login is lost. A configuration that cannot be used leaves the running one in place, and status 1 says so. The
    daemon's command line is not read anew: that takes a restart.
    """
    reply = ask(run_dir, "reload")
    for remark in reply["remarks"]:
        click.echo(f"warning: {remark}")
    click.echo(f"reloaded {reply['configuration']}")
