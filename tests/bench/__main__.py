"""The command that ``scripts/bench`` runs."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from bench import alone, peers, results, stages, work
from bench.peers import Setting
from bench.results import Results
from bench.rounds import Plan, limits, measure
from bench.sweeps import sweeps
from bench.tools import Tools, compiled, missing
from rig import Daemon, Slapd

FULL = Plan(warm=20_000, rounds=5, seconds=3, delayed=4, held=11, grace=6)
QUICK = Plan(warm=1000, rounds=2, seconds=0.4, delayed=1, held=1.5, grace=0.3)
SELF_TEST = Plan(warm=4, rounds=1, seconds=0.1, delayed=0.5, held=0.5, grace=0.5)
PEOPLE = 5000
WRONG = 5
"""Per cent of logins with a wrong password."""
_LARGE_DATABASE = "maxsize 1073741824"
_FILES = 8192
"""Descriptors for the held connections, here and in every daemon, which inherits the limit."""
_SELF_TESTED = "cached-held,custom-64,custom-delayed,bind-1"
_PROFILED = ("cached-64", "custom-64", "bind-64")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: about a minute.")
@click.option("--self-test", is_flag=True, help="Some seconds that show only that all of it works.")
@click.option("--memory", is_flag=True, help="Memory over 1,000,000 logins, in place of the comparison.")
@click.option("--profile", is_flag=True, help="Where a login's time goes and how its cost grows, in place of it.")
@click.option("--only", default="", metavar="WORK,...", help="Such as custom,bind-64.")
@click.option("--rounds", type=click.IntRange(1), help=f"[default: {FULL.rounds}]")
@click.option("--seconds", type=click.FloatRange(0.05), help=f"Of a daemon in a round.  [default: {FULL.seconds:g}]")
@click.option("--write", is_flag=True, help="Write the results into docs/.")
@click.option("--python", default=sys.executable, help="What runs this daemon, such as pypy3; it has what it needs.")
@click.pass_context
def main(
    context: click.Context,
    *,
    quick: bool,
    self_test: bool,
    memory: bool,
    profile: bool,
    only: str,
    rounds: int | None,
    seconds: float | None,
    write: bool,
    python: str,
) -> None:
    """Measure this daemon beside the original saslauthd and Dovecot's auth.

    The exit status is 1 where an aim is not met or a login failed, except of a self-test.
    """
    if memory and profile:
        raise click.UsageError("--memory and --profile are runs of their own")
    if lacking := missing():
        raise click.ClickException(f"install the Debian packages {' '.join(lacking)}")
    interpreter = _interpreter(python)
    if profile and interpreter.pypy:
        raise click.UsageError("py-spy, which --profile takes, cannot read PyPy")
    try:
        rows = work.chosen(only or (_SELF_TESTED if self_test else ""))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    Daemon.python = python
    _allow_files()
    plan = SELF_TEST if self_test else QUICK if quick else FULL
    plan = plan._replace(rounds=rounds or plan.rounds, seconds=seconds or plan.seconds)
    found: Results = results.load(pypy=interpreter.pypy) if write else {}
    found["machine"] = _machine(interpreter)
    people = work.MEMORY_PEOPLE if memory else 50 if self_test else PEOPLE
    with compiled(people, WRONG) as tools, Slapd(users=people, extra=_LARGE_DATABASE if memory else "") as server:
        if memory:
            found["memory"] = {"people": people, **alone.memory(tools, server)._asdict()}
        elif profile:
            _profile(tools, server, rows, plan, found)
        else:
            _compare(tools, server, rows, plan, found)
    click.echo(results.table(found))
    click.echo(results.profiles(found))
    if write:
        results.write(found, pypy=interpreter.pypy)
    context.exit(0 if self_test or results.met(found) else 1)


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _FILES:
        if 0 <= hard < _FILES:
            raise click.ClickException(f"{_FILES} open files are needed, and {hard} allowed (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))


def _compare(tools: Tools, server: Slapd, rows: Sequence[work.Row], plan: Plan, found: Results) -> None:
    found["limits"] = limits(tools, server, min(plan.seconds, 2))
    found["start_seconds"] = alone.start_seconds(f"{server.uri}/", plan.rounds)
    kept = found.setdefault("rows", {})
    for row, measured in measure(tools, server, rows, plan):
        kept[row.key] = results.plain(measured)


def _profile(tools: Tools, server: Slapd, rows: Sequence[work.Row], plan: Plan, found: Results) -> None:
    kept = found.setdefault("profile", {})
    for row in rows:
        if row.key in _PROFILED:
            with peers.ours(Setting(row.method, row.cached, f"{server.uri}/")) as (peer, _):
                tools.load(peer.protocol, peer.socket, in_flight=16, logins=tools.people, wrong=0)
                try:
                    profile = stages.profile(tools, peer, row, max(1, 2 * plan.seconds))
                except RuntimeError as error:
                    raise click.ClickException(str(error)) from None
            kept[f"{row.title}, {row.in_flight} in flight"] = profile._asdict()
    found["sweeps"] = sweeps(tools, server, plan.seconds)


class _Interpreter(NamedTuple):
    pypy: bool
    name: str


_WHICH = """
import platform, sys
own = "its own" if sys.base_prefix == "/usr" else "not its own"
pypy = getattr(sys, "pypy_version_info", None)
version = platform.python_version()
print("PyPy %d.%d.%d (Python %s)" % (*pypy[:3], version) if pypy else "Python %s (%s)" % (version, own))
"""


def _interpreter(python: str) -> _Interpreter:
    try:
        said = subprocess.run([python, "-c", _WHICH], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise click.UsageError(f"--python: {error}") from None
    return _Interpreter(said.startswith("PyPy "), said.strip())


def _machine(interpreter: _Interpreter) -> str:
    load = os.getloadavg()[0]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{system}, {interpreter.name}, {os.cpu_count()} cores, load {load:.1f} at the start of the last run."


if __name__ == "__main__":
    main(prog_name="scripts/bench")
