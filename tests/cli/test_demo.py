from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pysaslauthd.cli import control, demo, demo_daemon
from rig import programs
from rig.daemon import ENVIRONMENT
from rig.mux import request
from rig.programs import wait_until

COMMAND = [sys.executable, "-c", "import sys; from pysaslauthd.cli.control import main; sys.exit(main())", "demo"]
ALL_RIGHT = re.compile(r"^All 14 answers are the expected ones; [0-9.]+ s in all\.$", re.MULTILINE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """What the demo takes for the system's folder of temporary files; afterwards nothing of the demo is left."""
    with programs.folder("demo") as path:
        yield path
        assert list(path.iterdir()) == []
        wait_until(lambda: processes(path) == [], "the end of the demo's processes")


def processes(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has ended
            continue
        if os.fsencode(folder) in line:
            found.append(os.fsdecode(line))
    return found


def environ(folder: Path, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**inherited, **ENVIRONMENT, "TMPDIR": str(folder), **more}


class Terminal:
    """The demo on a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self.text = ""
        self._fd = fd

    def read_until(self, text: str) -> None:
        """Read on until the text comes; AssertionError if the demo ends first."""
        while text not in self.text:
            try:
                octets = os.read(self._fd, 65536)
            except OSError:  # EIO: the other end is closed
                octets = b""
            assert octets, f"it ended without {text!r}:\n{self.text}"
            self.text += octets.decode().replace("\r\n", "\n")

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def on_terminal(*flags: str, env: dict[str, str]) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *flags], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.terminate()
            process.wait(120)


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo in this process, without its steps that take time."""
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(demo, "_change_password", lambda *_: None)
    monkeypatch.setattr(demo, "_without_directory", lambda *_: None)
    for limit in ("START_SECONDS", "ANSWER_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(demo_daemon, limit, 60.0)  # a busy machine is no fault
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def plant(monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str) -> None:
    """Change one of the shipped files."""
    shipped = demo._shipped

    def changed(name: str) -> str:
        text = shipped(name)
        assert old in text or name != file
        return text.replace(old, new) if name == file else text

    monkeypatch.setattr(demo, "_shipped", changed)


def test_the_demo_shows_every_answer_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run(
        COMMAND,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert ALL_RIGHT.search(done.stdout)
    assert "\x1b" not in done.stdout
    rows = re.findall(r"^  (\S+) +(hoge\.cxm)? +(\S+) +[0-9.]+ ms  (.+)$", done.stdout, re.MULTILINE)
    assert len(rows) == 14
    assert rows[0] == ("penguin@hoge.cxm", "", "penguin-pass", "OK")
    assert rows[1] == ("penguin@hoge.cxm", "", "penguin-pass", "OK (cached)")
    assert {row[:2] for row in rows[2:6]} == {
        ("penguin@hoge.cxm", ""),
        ("penguin", "hoge.cxm"),
        ("penguin@hoge.cxm", "hoge.cxm"),
        ("penguin", ""),
    }
    assert rows[-1][3] == "closed without an answer (directory-down)"


def test_keep_leaves_it_running_and_tells_how_to_ask(folder: Path) -> None:
    with on_terminal("--keep", env=environ(folder)) as terminal:
        terminal.read_until("Its log:")
        assert "\x1b[32mAll 14 answers" in terminal.text
        probe = re.search(r"testpysaslauthd -u (\S+) -p (\S+) -f (\S+)\n", terminal.text)
        assert probe
        login, password, mux = probe.groups()
        assert demo_daemon._reply(Path(mux), request(login, password, "imap", "")) == "OK"
        terminal.read_until("auth success")
        assert terminal.end(signal.SIGINT) == 0


def test_a_signal_ends_it_in_order(folder: Path) -> None:
    with on_terminal(env=environ(folder, NO_COLOR="1")) as terminal:
        terminal.read_until("OK (cached)")
        assert "\x1b" not in terminal.text
        assert terminal.end(signal.SIGTERM) == 130


def test_a_signal_during_the_start_ends_it_in_order(folder: Path) -> None:
    with on_terminal(env=environ(folder)) as terminal:
        wait_until(lambda: processes(folder) != [], "the daemon's process")
        assert terminal.end(signal.SIGINT) == 130


def test_an_output_that_nobody_reads_any_more_ends_it(folder: Path) -> None:
    with subprocess.Popen(COMMAND, env=environ(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(120) == 1


@pytest.mark.usefixtures("quick")
def test_all_right_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert control.main(["demo"]) == 0
    assert "All 11 answers" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_an_unexpected_answer_is_shown_and_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, "people.ldif", "mail: emperor@", "mail: king@")
    assert control.main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "NO (unknown-user), expected OK\n" in out
    assert "NO (unknown-user), expected NO (wrong-password)\n" in out
    assert "2 of 11 answers are not the expected ones." in out


@pytest.mark.usefixtures("quick")
def test_a_daemon_that_does_not_start_is_status_1_and_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, "saslauthd.conf", "custom", "costume")
    assert control.main(["demo"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("pysaslauthctl: the daemon has ended; its log:\n")
    assert "ldap_auth_method: 'costume' is none of" in told


@pytest.mark.usefixtures("quick")
def test_a_daemon_that_hangs_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo_daemon, "START_SECONDS", 0.0)
    assert control.main(["demo"]) == 1
    assert "the daemon does not do what is waited for" in capsys.readouterr().err


def test_a_wrong_command_line_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert control.main(["demo", "--for-ever"]) == 2
    assert control.main(["dance"]) == 2
    assert capsys.readouterr().err.count("pysaslauthctl: No such ") == 2
    assert control.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pysaslauthctl ")
