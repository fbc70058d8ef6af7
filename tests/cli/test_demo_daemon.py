"""What the demo makes of a daemon that does not do what it should."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pysaslauthd.cli import demo_daemon
from pysaslauthd.cli.demo_daemon import Daemon, Signals
from rig import people
from rig.daemon import ENVIRONMENT
from rig.programs import folder
from rig.saslauthd import conf_text


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a configuration and people."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo_daemon, "START_SECONDS", 60.0)  # a busy machine is no fault
    with folder("demo") as path:
        (path / "people.ldif").write_text(people.tree(1))
        (path / "conf").write_text(
            conf_text({"ldap_servers": f"ldif://{path}/people.ldif", "ldap_filter": "(mail=%u)"})
        )
        yield path


def pid(daemon: Daemon) -> int:
    return int((daemon.mux.parent / "saslauthd.pid").read_text())


def test_a_daemon_that_is_gone_is_told_with_its_log(place: Path) -> None:
    with Signals() as signals, Daemon(signals, place / "run", place / "conf") as daemon:
        os.kill(pid(daemon), signal.SIGKILL)
        with pytest.raises(click.ClickException, match=r"the daemon has ended; its log:(.|\n)*serving mux "):
            daemon.line()
        with pytest.raises(click.ClickException, match=f"no answer from {re.escape(str(daemon.mux))}: .*refused"):
            daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD, "")


def test_a_daemon_that_hangs_is_told_and_killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_daemon, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(demo_daemon, "STOP_SECONDS", 0.1)
    with Signals() as signals, Daemon(signals, place / "run", place / "conf") as daemon:
        process = pid(daemon)
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(click.ClickException, match=r"no answer from .*: timed out"):
            daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD, "")
        with pytest.raises(click.ClickException, match="the daemon does not do what is waited for"):
            daemon.wait_for("stopped", 0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
