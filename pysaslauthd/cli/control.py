"""``pysaslauthctl``: what an administrator does around the daemon."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pysaslauthd import __version__
from pysaslauthd.cli import check, demo, explain, flush, log_level, ping, reload, status
from pysaslauthd.cli.terminal import EXIT_INTERRUPTED

_EXIT_FAILED = 1
_EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", prog_name="pysaslauthctl", message="%(prog)s %(version)s")
def command() -> None:
    """Look after pysaslauthd."""


@command.command("demo")
@click.option("--keep", is_flag=True, help="Leave the daemon running afterwards, until Ctrl-C.")
def _demo(*, keep: bool) -> int:
    """Log in through a daemon of its own: right and wrong passwords, each with its answer.

    Needs no configuration and no LDAP server, and leaves nothing behind. Ends with status 1 if an answer is
    not the expected one.
    """
    return demo.run(keep=keep)


command.add_command(check.command)
command.add_command(explain.command)
command.add_command(status.command)
command.add_command(flush.command)
command.add_command(reload.command)
command.add_command(log_level.command)
command.add_command(ping.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0, 1 for a failure, 2 for a wrong command line, 130 for Ctrl-C."""
    try:
        words = None if arguments is None else list(arguments)
        return int(command.main(words, prog_name="pysaslauthctl", standalone_mode=False) or 0)
    except click.UsageError as error:
        click.echo(f"pysaslauthctl: {error.format_message()}", err=True)
        return _EXIT_USAGE
    except click.ClickException as error:
        click.echo(f"pysaslauthctl: {error.format_message()}", err=True)
        return _EXIT_FAILED
    except click.Abort:
        return EXIT_INTERRUPTED
