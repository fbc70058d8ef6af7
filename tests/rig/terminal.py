"""A command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import NamedTuple

from rig.daemon import ENVIRONMENT

CONTROL = [sys.executable, "-c", "import sys; from pysaslauthd.cli.control import main; sys.exit(main())"]


class Shown(NamedTuple):
    """How a command ended, and all that its terminal showed, with ``\\n`` line ends."""

    status: int
    text: str


def on_terminal(*words: str, prompt: str = "", reply: str = "", **environ: str) -> Shown:
    """Run ``pysaslauthctl`` with a terminal as its input, output and error.

    :param prompt: what to wait for before the reply is typed; the terminal shows what is typed as long as it echoes.
    """
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [*CONTROL, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, **ENVIRONMENT, **environ},
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                octets = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            shown += octets
            if prompt and prompt.encode() in shown:
                os.write(ours, reply.encode() + b"\n")
                prompt = ""
        return Shown(process.wait(120), shown.decode().replace("\r\n", "\n"))
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
