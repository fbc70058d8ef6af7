"""Completion of command lines, as docs/how-to/shell-completion.md has it installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pysaslauthd.cli import control
from rig.daemon import ENVIRONMENT
from rig.docs import DOCS

PROGRAMS = {"pysaslauthctl": "control", "pysaslauthd": "daemon", "testpysaslauthd": "probe"}
COMPLETE = """\
source {script}
COMP_WORDS=({words} "{word}") COMP_CWORD={number}
{function} {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs, as an installation makes them."""
    folder = tmp_path_factory.mktemp("bin")
    for program, module in PROGRAMS.items():
        path = folder / program
        path.write_text(
            f"#!{sys.executable}\nimport sys\nfrom pysaslauthd.cli.{module} import main\nsys.exit(main())\n"
        )
        path.chmod(0o755)
    return folder


def run(programs: Path, *words: str, **environ: str) -> str:
    path = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, **ENVIRONMENT, "PATH": path, **environ}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout


def script(programs: Path, program: str, shell: str) -> str:
    variable = f"_{program.upper()}_COMPLETE"
    return run(programs, program, **{variable: f"{shell}_source"})


def completed(programs: Path, line: str) -> list[str]:
    """What bash makes of a line's last word."""
    *words, word = line.split(" ")
    file = programs / f"{words[0]}.bash"
    if not file.exists():
        file.write_text(script(programs, words[0], "bash"))
    text = COMPLETE.format(
        script=file,
        words=" ".join(words),
        word=word,
        number=len(words),
        function=f"_{words[0]}_completion",
        program=words[0],
    )
    return run(programs, "bash", "-c", text).split()


def test_bash_is_told_every_subcommand(programs: Path) -> None:
    subcommands = set(control.command.commands)
    assert {"check", "explain", "status", "reload"} <= subcommands
    assert set(completed(programs, "pysaslauthctl ")) == subcommands
    assert completed(programs, "pysaslauthctl ex") == ["explain"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pysaslauthctl check --js", ["--json"]),
        ("pysaslauthctl log-level ", ["debug", "info", "warning", "error"]),
        ("pysaslauthd --mux", ["--mux-socket"]),
        ("pysaslauthd --unavailable ", ["close", "no"]),
        ("testpysaslauthd --ser", ["--service"]),
    ],
)
def test_bash_is_told_options_and_their_words(line: str, words: list[str], programs: Path) -> None:
    assert completed(programs, line) == words


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_page_puts_each_script_to_where_the_shell_looks(shell: str, program: str, programs: Path) -> None:
    text = script(programs, program, shell)
    variable = f"_{program.upper()}_COMPLETE={shell}_"
    assert f"{variable}complete" in text
    page = (DOCS / "how-to/shell-completion.md").read_text()
    assert f"\n{variable}source {program} >/usr/share/" in page
