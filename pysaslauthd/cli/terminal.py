"""What commands print for people."""

from __future__ import annotations

import os
from typing import Any

import click

from pysaslauthd.config.source import printable


def say(text: str = "", **style: Any) -> None:
    """Print a line at once; in colour on a terminal alone, and not where NO_COLOR is set (no-color.org).

    What cannot be printed is escaped, whoever sent it.

    :param style: as :func:`click.style` has it.
    """
    line = printable(text)
    click.echo(click.style(line, **style) if style else line, color=False if os.environ.get("NO_COLOR") else None)


def milliseconds(value: float | None) -> str:
    """A duration for a column of nine characters; empty where there is none."""
    return "" if value is None else f"{value:.1f} ms"
