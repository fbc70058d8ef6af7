"""The manual pages against the code: every option and key is in them, and every default is right."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from test_house import ROOT

from pysaslauthd.cli import control, daemon, probe
from pysaslauthd.config import KEYS

PAGES = ROOT / "docs" / "reference"
MANUAL = runpy.run_path(str(ROOT / "docs" / "manual.py"))
OPTIONS = re.compile(r"<!-- options of ([\w -]+?) -->\n(.*?)<!-- end -->", re.DOTALL)
ITEM = re.compile(r"^(`[^\n]*)\n: ((?:[^\n]+\n)+)", re.MULTILINE)
HELP = {("-h", "--help"), ("--help",)}


def every_command() -> Iterator[tuple[str, click.Command]]:
    programs = {"pysaslauthd": daemon.command, "testpysaslauthd": probe.command, "pysaslauthctl": control.command}
    for name, command in programs.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {word}", each) for word, each in command.commands.items())


def items(text: str) -> dict[tuple[str, ...], str]:
    """Names of an option or key to what the page says of it, as it is read."""
    return {
        tuple(re.findall("`([^`]+)`", names)): re.sub(r"\\(.)", r"\1", " ".join(meaning.split()))
        for names, meaning in ITEM.findall(text)
    }


def shown(page: str) -> dict[str, dict[tuple[str, ...], str]]:
    return {name: items(text) for name, text in OPTIONS.findall(page)}


def faults(command: click.Command, described: Mapping[tuple[str, ...], str]) -> list[str]:
    """What a page says wrongly of a command's options."""
    real = {tuple(each.opts): each for each in command.params if isinstance(each, click.Option)}
    found = [f"{names} is not there" for names in real.keys() - described.keys()]
    found += [f"{names} is no option" for names in described.keys() - real.keys() - HELP]
    for names in real.keys() & described.keys():
        default = real[names].default
        told = re.search(r"Default: (.*)\.$", described[names])
        # What the command line leaves open, DaemonOptions decides; the test of the whole page compares it.
        if isinstance(default, str | int | Path) and default not in ("", False):
            if not told or told[1] != str(default):
                found.append(f"{names}: the default is {default}, not {told[1] if told else 'none'}")
        elif real[names].is_flag and told:
            found.append(f"{names}: a flag has no default")
    return found


@pytest.mark.parametrize(("name", "command"), [*every_command()], ids=[name for name, _ in every_command()])
def test_every_option_is_in_the_manual_page_with_its_default(name: str, command: click.Command) -> None:
    page = (PAGES / f"{name.partition(' ')[0]}.8.md").read_text()
    assert faults(command, shown(page)[name]) == []


def test_a_manual_page_has_no_command_that_is_none() -> None:
    pages = [path.read_text() for path in PAGES.glob("*.8.md")]
    assert {name for page in pages for name in shown(page)} == {name for name, _ in every_command()}
    commands = {name.partition(" ")[2] for name, _ in every_command()} - {""}
    headings = re.findall(r"^## ([a-z-]+)$", (PAGES / "pysaslauthctl.8.md").read_text(), re.MULTILINE)
    assert set(headings) == commands


def test_planted_faults_are_found() -> None:
    name = "testpysaslauthd"
    described = shown((PAGES / f"{name}.8.md").read_text())[name]
    right = described.pop(("-s", "--service"))
    assert faults(probe.command, described) == ["('-s', '--service') is not there"]
    described["-s", "--service"] = right.replace("Default: imap", "Default: smtp")
    assert faults(probe.command, described) == ["('-s', '--service'): the default is imap, not smtp"]
    described["-s", "--service"], described["-x",] = right, ""
    assert faults(probe.command, described) == ["('-x',) is no option"]


def test_every_key_is_in_the_manual_page_with_its_default() -> None:
    text = (PAGES / "pysaslauthd.conf.5.md").read_text()
    described = items(text[text.index("<!-- keys -->") : text.index("<!-- end -->")])
    assert set(described) == {(name, *key.aliases) for name, key in KEYS.items()}
    for name, key in KEYS.items():
        meaning = described[name, *key.aliases]
        assert meaning.endswith(f" Default: {key.default or 'none'}."), name
        assert key.kind.values in meaning
        assert key.kind.read(key.default.encode()) is not None or not key.default


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.[58].md")))
def test_a_manual_page_is_what_the_code_says(page: str) -> None:
    text = (PAGES / page).read_text()
    assert MANUAL["page"](text) == text, "stale: run python docs/manual.py"
