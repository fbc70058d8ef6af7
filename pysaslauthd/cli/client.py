"""Asks the running daemon through its control socket."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import click

from pysaslauthd.cli.parameters import run_dir_option
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.errors import CommandError, ProtocolError
from pysaslauthd.wire import control

ANSWER_SECONDS = 35.0
"""Longest time for a reply; the daemon gives itself 30 s."""

_ADVICE = {
    errno.ENOENT: "is pysaslauthd running, and is -m the same as its own?",
    errno.ECONNREFUSED: "pysaslauthd is not running",
    errno.EACCES: "only root and the daemon's user may ask; try sudo",
}

daemon_option = run_dir_option("The daemon's run directory, where its socket control is")
"""For every command that speaks to the daemon."""


def ask(run_dir: Path, command: str, *, seconds: float = ANSWER_SECONDS, **arguments: Any) -> dict[str, Any]:
    """Have a command carried out; its reply.

    :raises click.ClickException: the daemon cannot be asked, or did not do it; the text says why.
    """
    path = DaemonOptions(run_dir=run_dir).control_path
    try:
        return control.parse_reply(_exchange(path, control.encode_request(command, arguments), seconds))
    except CommandError as error:
        raise click.ClickException(error.message) from error
    except ProtocolError as error:
        raise click.ClickException(f"{path}: no reply of pysaslauthd's: {error}") from error
    except TimeoutError as error:
        raise click.ClickException(f"{path}: no reply within {seconds:g} s; is the daemon stuck?") from error
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        text = f"{path}: {error.strerror or error}"
        raise click.ClickException(f"{text}; {advice}" if advice else text) from error


def _exchange(path: Path, request: bytes, seconds: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        client.connect(os.fspath(path))
        client.sendall(request)
        received = bytearray()
        while not received.endswith(b"\n"):
            octets = client.recv(65536)
            if not octets:
                raise ProtocolError("it closed the connection; its log may say why")
            received += octets
            if len(received) > control.MAX_REPLY:
                raise ProtocolError(f"more than {control.MAX_REPLY} bytes")
        return bytes(received)
