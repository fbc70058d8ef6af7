"""A mux server that follows a script, and what testsaslauthd makes of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pysaslauthd.wire import mux


class Script(NamedTuple):
    """Replies to successive requests, and the output and exit status that they lead to."""

    replies: tuple[bytes, ...]
    status: int
    stdout: bytes
    stderr: bytes = b""


SUCCESS = b'OK "Success."\n'
FAILURE = b'NO "authentication failed"\n'

# Recorded from testsaslauthd of cyrus-sasl 2.1.28; the integration tests compare with the real one.
SCRIPTS = {
    "ok": Script((b"\0\2OK",), 0, b"0: " + SUCCESS),
    "no": Script((b"\0\2NO",), 255, b"0: " + FAILURE),
    "no and a blank": Script((b"\0\3NO ",), 255, b"0: " + FAILURE),
    "ok and text": Script((b"\0\6OK hey",), 0, b"0: " + SUCCESS),
    "neither": Script((b"\0\2XY",), 255, b"0: " + FAILURE),
    "closed": Script((b"",), 255, b"0: ", b"size read failed\n"),
    "half a count": Script((b"\0",), 255, b"0: ", b"size read failed\n"),
    "half a reply": Script((b"\0\2O",), 255, b"0: ", b"read failed\n"),
    "empty": Script((b"\0\0",), 255, b"0: ", b"bad response from saslauthd\n"),
    "one letter": Script((b"\0\1O",), 255, b"0: ", b"bad response from saslauthd\n"),
    "the last counts, ok": Script(
        (b"\0\2OK", b"\0\2NO", b"", b"\0\2OK"), 0, b"0: " + SUCCESS + b"1: " + FAILURE + b"2: 3: " + SUCCESS,
        b"size read failed\n",
    ),
    "the last counts, no": Script((b"\0\2OK", b"\0\2NO"), 255, b"0: " + SUCCESS + b"1: " + FAILURE),
}  # fmt: skip


@contextmanager
def scripted(path: Path, replies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Serve one connection per reply: read a request, send the reply, close. Yields the requests as they come."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(60)

        def serve() -> None:
            for reply in replies:
                client, _ = listening.accept()
                with client:
                    data = b""
                    while mux.parse(data) is None:
                        data += client.recv(65536)
                    requests.append(data)
                    client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield requests
        thread.join()
