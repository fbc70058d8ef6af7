"""testpysaslauthd beside the real testsaslauthd: the same server, the same output and exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli.replies import SCRIPTS, Script, scripted

from rig import find

OURS = [sys.executable, "-c", "import sys; from pysaslauthd.cli.probe import main; sys.exit(main())"]


def outcome(command: list[str], *flags: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run([*command, *flags], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_reply_means_the_same_to_both(tmp_path: Path, script: Script) -> None:
    path = tmp_path / "mux"
    flags = ["-u", "penguin", "-p", "x", "-s", "smtp", "-r", "hoge.cxm", "-f", str(path)]
    flags += ["-R", str(len(script.replies))]
    for command in ([find("testsaslauthd")], OURS):
        with scripted(path, script.replies) as requests:
            assert outcome(command, *flags) == (script.status, script.stdout, script.stderr)
        assert set(requests) == {b"\0\7penguin\0\1x\0\4smtp\0\x08hoge.cxm"}
        path.unlink()


def test_a_missing_socket_means_the_same_to_both(tmp_path: Path) -> None:
    flags = ["-u", "penguin", "-p", "x", "-f", str(tmp_path / "mux"), "-R", "2"]
    assert outcome(OURS, *flags) == outcome([find("testsaslauthd")], *flags)


def test_a_missing_user_is_the_same_exit_status_to_both() -> None:
    assert outcome(OURS, "-p", "x")[0] == outcome([find("testsaslauthd")], "-p", "x")[0]
