"""``testpysaslauthd``: asks a mux socket one login, and says and exits as testsaslauthd does.

The short options, the lines printed and the exit status are testsaslauthd's of cyrus-sasl 2.1.28, so that scripts
can call either.
"""

from __future__ import annotations

import getpass
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence

import click

from pysaslauthd.cli.parameters import number, realm_option, service_option
from pysaslauthd.cli.terminal import EXIT_INTERRUPTED
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import AuthRequest
from pysaslauthd.wire import mux

ANSWER_SECONDS = 30
"""Longest time for a try. The daemon answers within 4 s, saslauthd after its LDAP time limits: 10 to 20 s."""

EXIT_NOT_OK = 255
"""testsaslauthd's, of NO and of no answer."""
EXIT_USAGE = 1
"""testsaslauthd's, of a wrong command line."""

_MAX_LINE = 0xFFFF + 2
"""Bytes: the longest password that a count can say and its newline, and one more that shows a longer one."""


class NoAnswerError(Exception):
    """The server said neither OK nor NO. The text is testsaslauthd's; ``hint`` says what it means."""

    def __init__(self, text: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(text)


def ask(path: str, request: bytes, *, seconds: float = ANSWER_SECONDS) -> bool:
    """Send one request over a connection of its own; whether the reply is OK.

    :raises NoAnswerError: there was no reply within so many seconds, or none that can be understood.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            return _ask(client, path, request, time.monotonic() + seconds)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {seconds:g} s", "the server is stuck or overloaded") from error


def _ask(client: socket.socket, path: str, request: bytes, ends: float) -> bool:
    _connect(client, path, ends)
    failure = ""
    try:
        _limit(client, ends)
        client.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        failure = "write failed"  # unless it has answered before it closed
    data = b""
    try:
        while (text := mux.decode_reply(data)) is None:
            _limit(client, ends)
            more = _receive(client)
            if not more:
                raise NoAnswerError(
                    failure or ("read failed" if len(data) >= 2 else "size read failed"),
                    "closed without an answer: a temporary failure, the server's log says which",
                )
            data += more
    except ProtocolError as error:
        raise NoAnswerError("bad response from saslauthd", str(error)) from error
    return text.startswith(b"OK")


def _connect(client: socket.socket, path: str, ends: float) -> None:
    # A UNIX socket with a time limit of Python's is non-blocking to the kernel, and would not wait at all where
    # the backlog is full (connect(2), EAGAIN); with this one it waits, and says EAGAIN when the time is over.
    left = max(ends - time.monotonic(), 0.001)
    limit = struct.pack("@ll", int(left), int(left % 1 * 1e6))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    try:
        client.connect(path)
    except BlockingIOError as error:
        raise TimeoutError from error
    except OSError as error:
        raise NoAnswerError(
            f"connect() : {error.strerror or error}", "is the daemon running, and the path right?"
        ) from error


def _limit(client: socket.socket, ends: float) -> None:
    client.settimeout(max(ends - time.monotonic(), 0.001))  # zero would mean not to wait at all


def _receive(client: socket.socket) -> bytes:
    try:
        return client.recv(mux.MAX_REPLY)
    except ConnectionResetError:
        return b""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 if the last try was OK, 255 if not or without an answer, 1 for a wrong command line.",
)
@click.option("-u", "--user", required=True, metavar="LOGIN", help="Login, with or without @domain.")
@click.option(
    "-p",
    "--password",
    metavar="PASSWORD",
    help="Password. Everybody on this machine can see it in the process list while this runs: better leave it out and "
    "be asked, or give - and one line on standard input.",
)
@realm_option
@service_option
@click.option(
    "-f",
    "--socket",
    "path",
    default=str(DaemonOptions().mux_path),
    metavar="PATH",
    show_default=True,
    help="The mux socket.",
)
@click.option(
    "-R", "--repeat", type=str, callback=number(1), default=1, metavar="NUMBER", show_default=True, help="Tries."
)
@click.option(
    "-a",
    "--client-address",
    default="",
    metavar="ADDRESS",
    help="Remote address to send as the fifth string, as in 192.0.2.1;4567.  [default: four strings]",
)
@click.option("-v", "--verbose", is_flag=True, help="Say how long each try took, and what a missing answer means.")
def command(
    *,
    user: str,
    password: str | None,
    realm: str,
    service: str,
    path: str,
    repeat: int,
    client_address: str,
    verbose: bool,
) -> int:
    """Ask saslauthd or pysaslauthd whether a login is right."""
    login, service_name, realm_name, remote = map(os.fsencode, (user, service, realm, client_address))
    try:
        request = mux.encode_request(AuthRequest(login, _password(password), service_name, realm_name, remote))
    except ProtocolError as error:
        raise click.UsageError(str(error)) from error
    status = EXIT_NOT_OK
    for turn in range(repeat):
        # Before the try, so that one sees which is waited for; testsaslauthd does so too.
        click.echo(f"{turn}: ", nl=False)
        started = time.perf_counter()
        try:
            accepted = ask(path, request)
        except NoAnswerError as error:
            status = EXIT_NOT_OK
            hint = f" ({error.hint}) after {_since(started)}" if verbose else ""
            click.echo(f"{error}{hint}", err=True)
        else:
            status = 0 if accepted else EXIT_NOT_OK
            took = f" after {_since(started)}" if verbose else ""
            click.echo(('OK "Success."' if accepted else 'NO "authentication failed"') + took)
    return status


def _password(given: str | None) -> bytes:
    if given == "-":
        return sys.stdin.buffer.readline(_MAX_LINE).removesuffix(b"\n")
    if given is not None:
        return os.fsencode(given)
    if not sys.stdin.isatty():
        raise click.UsageError("-p is missing; give -p - and the password as a line on standard input")
    return os.fsencode(getpass.getpass())


def _since(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.1f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 for OK, 255 for NO or no answer, 1 for a wrong command line."""
    try:
        return int(command.main(arguments, prog_name="testpysaslauthd", standalone_mode=False))
    except click.UsageError as error:
        click.echo(f"testpysaslauthd: {error.format_message()}", err=True)
        return EXIT_USAGE
    except click.Abort:
        return EXIT_INTERRUPTED
