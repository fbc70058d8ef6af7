"""What a word of a command line must be: callbacks for click's options."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from pysaslauthd.config.endpoint import Endpoint, parse_endpoint
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
