"""The rig's programs: their log is read as it was written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rig.programs import Program, wait_until

HALVES = "print('half a ', end='', flush=True); input(); print('line', flush=True); input(); print('the end', end='')"


def test_the_log_is_whole_lines_until_the_program_has_ended(tmp_path: Path) -> None:
    log, keys = tmp_path / "log", tmp_path / "keys"
    os.mkfifo(keys)
    command = ["sh", "-c", 'exec "$0" -c "$1" <"$2"', sys.executable, HALVES, keys]
    program = Program(command, log=log, ready=lambda: log.exists() and log.read_text() == "half a ")
    with os.fdopen(os.open(keys, os.O_RDWR), "wb", buffering=0) as typed:
        program.start()
        try:
            assert program.log == ""
            typed.write(b"\n")
            wait_until(lambda: program.log == "half a line\n", "the whole line")
            typed.write(b"\n")
            wait_until(lambda: program.log == "half a line\nthe end", "all of it")
        finally:
            program.stop()
