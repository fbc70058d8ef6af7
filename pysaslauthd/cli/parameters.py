"""What a word of a command line must be: callbacks for click's options, and the options that commands share.

A callback raises :class:`click.BadParameter` with what is needed instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pysaslauthd.config.endpoint import Endpoint, parse_endpoint
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import ConfigError

SOCKET = "PATH[:mode=M,owner=U,group=G]"
"""How :func:`sockets` are written, for the help."""
_MAX_NUMBER = 2**31 - 1
"""saslauthd keeps its numbers in an int."""


def number(least: int, most: int = _MAX_NUMBER) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """A callback that takes digits only, where ``int`` would take signs, blanks and underscores too."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        if not re.fullmatch("[0-9]{1,10}", value) or not least <= int(value) <= most:
            raise click.BadParameter(f"{value!r}: a whole number from {least} to {most} is needed", ctx, param)
        return int(value)

    return convert


def absolute(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    """A callback that takes absolute paths only."""
    if not path.is_absolute():
        raise click.BadParameter(f"{str(path)!r}: an absolute path is needed", ctx, param)
    return path


def sockets(mode: int) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[SocketPlace, ...]]:
    """A callback that reads sockets to make; ``mode`` is for those that name none."""

    def convert(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[SocketPlace, ...]:
        try:
            return tuple(SocketPlace.parse(value, mode=mode) for value in values)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return convert


def endpoint(ctx: click.Context, param: click.Parameter, value: str | None) -> Endpoint | None:
    """A callback that reads where metrics are served."""
    try:
        return parse_endpoint(value) if value else None
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from error


FILE = click.Path(path_type=Path, readable=False)
"""A path. Whether it may be read is told by whoever reads it: with what to do, and not before there is a need."""

config_option = click.option(
    "-O",
    "--config",
    metavar="FILE",
    type=FILE,
    default=DaemonOptions().config,
    show_default=True,
    help="Configuration file.",
)
"""``-O``: a path, for every command that reads the configuration as the daemon does."""


def run_dir_option(meaning: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``-m``: an absolute path; ``meaning`` says what the command looks for there."""
    return click.option(
        "-m",
        "--run-dir",
        metavar="DIR",
        type=FILE,
        callback=absolute,
        default=DaemonOptions().run_dir,
        show_default=True,
        help=f"{meaning}; absolute.",
    )


realm_option = click.option("-r", "--realm", default="", metavar="REALM", help="Realm.  [default: none]")
"""``-r``: a login's realm, as its client sends it."""

service_option = click.option("-s", "--service", default="imap", metavar="SERVICE", show_default=True, help="Service.")
"""``-s``: a login's service."""
