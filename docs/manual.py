"""Writes the options and keys of the manual pages from the code: ``python docs/manual.py``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pysaslauthd.cli import control, daemon, probe
from pysaslauthd.config import KEYS, Key

PAGES = Path(__file__).with_name("reference")
COMMANDS = {"pysaslauthd": daemon.command, "testpysaslauthd": probe.command, "pysaslauthctl": control.command}
_MARKED = re.compile(
    r"(?P<mark><!-- (?P<what>options|keys)(?: of (?P<name>[\w -]+?))? -->\n).*?(?=<!-- end -->)", re.DOTALL
)
_OPTION = re.compile(r"(?P<names>-[\w-]+(?:, -[\w-]+)*) ?(?P<value>.*)", re.DOTALL)
_DEFAULT = re.compile(r" *\[default: (?P<default>.*)\]$")
_SYNTAX = re.compile(r"([\\`*<\[\]])")


def page(text: str) -> str:
    """A page's text with what stands between its marks as the code has it now."""
    return _MARKED.sub(lambda mark: f"{mark['mark']}\n{_marked(mark)}\n", text)


def _marked(mark: re.Match[str]) -> str:
    items = _keys() if mark["what"] == "keys" else _options(mark["name"])
    wrap = textwrap.TextWrapper(
        120, initial_indent=": ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(f"{term}\n{wrap.fill(meaning)}\n" for term, meaning in items)


def command(name: str) -> click.Command:
    """A command by its words, as in ``pysaslauthctl status``."""
    program, *words = name.split(" ")
    found: click.Command = COMMANDS[program]
    for word in words:
        assert isinstance(found, click.Group), name  # noqa: S101 - a page names a command that has none
        found = found.commands[word]
    return found


def _options(name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command(name), info_name=name, help_option_names=["-h", "--help"])
    for parameter in command(name).get_params(context):
        record = parameter.get_help_record(context)
        if not isinstance(parameter, click.Option) or record is None:
            continue  # what an argument means, the page says
        option = _OPTION.fullmatch(record[0])
        assert option, record  # noqa: S101 - click writes it so
        names = ", ".join(f"`{each}`" for each in option["names"].split(", "))
        meaning = _DEFAULT.sub("", record[1])
        if default := _DEFAULT.search(record[1]):
            meaning += f" Default: {default['default']}."
        yield f"{names} {_plain(option['value'])}".rstrip(), _plain(meaning)


def _keys() -> Iterator[tuple[str, str]]:
    for name, key in KEYS.items():
        names = ", ".join(f"`{each}`" for each in (name, *key.aliases))
        yield names, _plain(_meaning(key))


def _meaning(key: Key[Any]) -> str:
    unit = f", in {key.unit}" if key.unit else ""
    return f"{key.meaning} Value: {key.kind.values}{unit}. Default: {key.default or 'none'}."


def _plain(text: str) -> str:
    return _SYNTAX.sub(r"\\\1", text)


if __name__ == "__main__":
    for path in sorted(PAGES.glob("*.[58].md")):
        path.write_text(page(path.read_text()))
