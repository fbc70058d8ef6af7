"""The terminal: what commands print for people, and how Ctrl-C ends them."""

from __future__ import annotations

import os
from typing import Any

import click

from pysaslauthd.config.source import printable

EXIT_INTERRUPTED = 130
"""What a shell gives a command that SIGINT ended."""


def echo(text: str) -> None:
    """Print text that may be styled; in colour on a terminal alone, and not where NO_COLOR is set (no-color.org)."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def say(text: str = "", **style: Any) -> None:
    """Print a line at once, in colour where :func:`echo` does. What cannot be printed is escaped, whoever sent it.

    :param style: as :func:`click.style` has it.
    """
    line = printable(text)
    echo(click.style(line, **style) if style else line)


def milliseconds(value: float | None) -> str:
    """A duration in milliseconds, for a column of nine characters; empty where there is none."""
    return "" if value is None else f"{value:.1f} ms"
