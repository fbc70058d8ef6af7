"""``pysaslauthd``: saslauthd's command line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from pysaslauthd import __version__, log
from pysaslauthd.cli.parameters import FILE, SOCKET, endpoint, number, run_dir_option, sockets
from pysaslauthd.cli.start import EXIT_CONFIG, EXIT_START, start
from pysaslauthd.cli.terminal import EXIT_INTERRUPTED
from pysaslauthd.config.endpoint import Endpoint
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import StartError
from pysaslauthd.systemd import credentials_directory

MECHANISM = "ldap"
_MAX_KILOBYTES = 2**22 - 1
"""4 GiB: saslauthd counts its cache's bytes in 32 bits."""
_EMPTY_OPTION = re.compile("--[a-z-]+=")


def _only_ldap(ctx: click.Context, param: click.Parameter, mechanisms: tuple[str, ...]) -> tuple[str, ...]:
    for mechanism in mechanisms:
        if mechanism.lower() != MECHANISM:
            raise click.BadParameter(
                f"{mechanism!r}: this daemon asks LDAP directories only; use -a {MECHANISM}", ctx, param
            )
    return mechanisms


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"pysaslauthd {__version__}\nauthentication mechanisms: {MECHANISM}\n", err=True)
        ctx.exit()


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="An empty value, as in --config=, is the same as leaving the option out.",
)
@click.option(
    "-a",
    "--mechanism",
    "mechanisms",
    metavar="MECH",
    multiple=True,
    callback=_only_ldap,
    help=f"Authentication mechanism; only {MECHANISM}, which is the default.",
)
@click.option(
    "-O",
    "--config",
    metavar="FILE",
    type=FILE,
    help=f"Configuration file.  [default: {DaemonOptions().config}]",
)
@run_dir_option("Where the socket mux and saslauthd.pid are")
@click.option(
    "-n",
    "--threads",
    metavar="NUMBER",
    type=str,
    callback=number(0),
    default=DaemonOptions().threads,
    show_default=True,
    help="Binds with a user's password under way at once; 0: no bound.",
)
@click.option("-c", "--cache", is_flag=True, help="Remember accepted logins.")
@click.option(
    "-s",
    "--cache-size",
    metavar="KILOBYTES",
    type=str,
    callback=number(1, _MAX_KILOBYTES),
    help="Size of the cache: as many entries as saslauthd holds in so many kilobytes. "
    f" [default: {DaemonOptions().cache_entries} entries]",
)
@click.option(
    "-t",
    "--cache-lifetime",
    metavar="SECONDS",
    type=str,
    callback=number(1),
    default=DaemonOptions().cache_lifetime,
    show_default=True,
    help="How long an accepted login is remembered.",
)
@click.option("-r", "--append-realm", is_flag=True, help="Make login@realm of a login that comes with a realm.")
@click.option(
    "--unavailable",
    type=click.Choice(["close", "no"]),
    default=DaemonOptions().unavailable,
    show_default=True,
    help="The answer when no directory can be asked: close the connection, which mail servers take for a "
    "temporary failure, or NO, which they take for a wrong password.",
)
@click.option(
    "--mux-socket",
    "mux_sockets",
    metavar=SOCKET,
    multiple=True,
    callback=sockets(0o777),
    help="One more mux socket, as inside a mail server's chroot; repeatable. Its mode is 0777, as saslauthd's, if not "
    "told otherwise.",
)
@click.option(
    "--dovecot-socket",
    "dovecot_sockets",
    metavar=SOCKET,
    multiple=True,
    callback=sockets(0o660),
    help="A socket that speaks Dovecot's auth protocol; repeatable. Its mode is 0660 if not told otherwise.",
)
@click.option(
    "--dovecot-unavailable",
    type=click.Choice(["auto", "close", "fail"]),
    default=DaemonOptions().dovecot_unavailable,
    show_default=True,
    help="The answer on a Dovecot socket when no directory can be asked: close the connection, FAIL with "
    "code=temp_fail, or auto: close for Postfix and Exim, which take every FAIL for a wrong password, FAIL for others.",
)
@click.option("-d", "--debug", is_flag=True, help="Same as -f -V.")
@click.option("-f", "--foreground", is_flag=True, help="Do not detach; log to standard error.")
@click.option("-V", "--verbose", is_flag=True, help="Log accepted logins too.")
@click.option(
    "--log-format",
    type=click.Choice(["classic", "json"]),
    default=DaemonOptions().log_format,
    show_default=True,
    help="The form of a line: saslauthd's, or a JSON object.",
)
@click.option(
    "--metrics",
    metavar="ADDRESS:PORT|unix:PATH",
    callback=endpoint,
    help="Serve metrics to Prometheus there, at /metrics: 127.0.0.1:9797, [::1]:9797, or a socket as above, of mode "
    "0660 if not told otherwise. Needs pysaslauthd[metrics].",
)
@click.option("-T", "--time-of-day", is_flag=True, help="Accepted for compatibility; has no meaning here.")
@click.option("-l", "--no-accept-lock", is_flag=True, help="Accepted for compatibility; has no meaning here.")
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print version and mechanisms, and exit.",
)
def command(
    *,
    mechanisms: tuple[str, ...],
    config: Path | None,
    run_dir: Path,
    threads: int,
    cache: bool,
    cache_size: int | None,
    cache_lifetime: int,
    append_realm: bool,
    unavailable: Literal["close", "no"],
    mux_sockets: tuple[SocketPlace, ...],
    dovecot_sockets: tuple[SocketPlace, ...],
    dovecot_unavailable: Literal["auto", "close", "fail"],
    debug: bool,
    foreground: bool,
    verbose: bool,
    log_format: log.Form,
    metrics: Endpoint | None,
    time_of_day: bool,
    no_accept_lock: bool,
) -> int:
    """Answer saslauthd's clients from an LDAP directory."""
    options = DaemonOptions(
        config=config.absolute() if config else _default_config(),
        run_dir=run_dir,
        threads=threads,
        cache=cache,
        cache_size=cache_size,
        cache_lifetime=cache_lifetime,
        append_realm=append_realm,
        verbose=verbose or debug,
        foreground=foreground or debug,
        log_format=log_format,
        metrics=metrics,
        unavailable=unavailable,
        mux_sockets=mux_sockets,
        dovecot_sockets=dovecot_sockets,
        dovecot_unavailable=dovecot_unavailable,
    )
    if options.twice:
        raise click.UsageError(f"{options.twice}: one path cannot be two sockets")
    ignored = {
        "-T: has no meaning here: LDAP logins know no time of day": time_of_day,
        "-l: has no meaning here: there is no accept lock": no_accept_lock,
    }
    return start(options, tuple(remark for remark, given in ignored.items() if given))


def _default_config() -> Path:
    """What systemd's LoadCredential=saslauthd.conf:… hands over, else saslauthd's own path."""
    credentials = credentials_directory(os.environ)
    if credentials and (credentials / "saslauthd.conf").exists():
        return credentials / "saslauthd.conf"
    return DaemonOptions().config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0, 1 for a failed start, 2 for a wrong command line or configuration."""
    words = [word for word in (sys.argv[1:] if arguments is None else arguments) if not _EMPTY_OPTION.fullmatch(word)]
    try:
        return int(command.main(words, prog_name="pysaslauthd", standalone_mode=False))
    except click.UsageError as error:
        click.echo(f"pysaslauthd: {error.format_message()}", err=True)
        return EXIT_CONFIG
    except StartError as error:
        click.echo(f"pysaslauthd: {error}", err=True)
        return EXIT_START
    except click.Abort:
        return EXIT_INTERRUPTED
