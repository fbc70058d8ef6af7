"""What systemd tells a service through its environment, and how the service answers. No library needed.

Everything takes the environment it shall look at; outside a systemd service each function finds nothing.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple

from pysaslauthd.errors import StartError

_FIRST_FD = 3
"""SD_LISTEN_FDS_START (sd_listen_fds(3))."""
_MAX_FDS = 64
"""Sockets of one service: far above any use, and a wrong number is noticed before it is looped over."""
logger = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager how the service is (sd_notify(3)).

    :param address: $NOTIFY_SOCKET's value: a path, or ``@`` and a name in the abstract namespace; empty where nobody
        listens, and then nothing is sent.
    :raises StartError: for an address of another kind.
    """

    def __init__(self, address: str) -> None:
        if address and address[0] not in "/@":
            raise StartError(
                f"NOTIFY_SOCKET={address}: neither a path nor an abstract socket; start the service with Type=exec"
            )
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """The notifier for $NOTIFY_SOCKET."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """The service has started, or has its configuration anew."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The service reads its configuration anew; :meth:`ready` says when that is over (sd_notify(3))."""
        # systemd holds the time against that of its own request, and so knows a READY=1 that was late.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """The service is alive."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            # A manager that hangs must not make the service hang.
            manager.setblocking(False)
            try:
                manager.sendto(message.encode(), self._address)
            except OSError as error:
                what = message.partition("\n")[0]
                logger.warning("cannot tell systemd %s: %s: %s", what, self._address, error.strerror)


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life: half of what the manager waits for (sd_watchdog_enabled(3)).

    None where it does not watch this process.

    :raises StartError: a value is no number.
    """
    microseconds = _number(environ, "WATCHDOG_USEC")
    if not microseconds or _number(environ, "WATCHDOG_PID") not in (None, pid):
        return None
    return microseconds / 2_000_000


class Inherited(NamedTuple):
    """A listening socket made by the manager, non-blocking, and its name (FileDescriptorName=)."""

    name: str
    socket: socket.socket


def listening_sockets(environ: MutableMapping[str, str], pid: int) -> tuple[Inherited, ...]:
    """Adopt the sockets that the manager made for this process (sd_listen_fds(3)).

    $LISTEN_FDS, $LISTEN_PID and $LISTEN_FDNAMES are removed from ``environ``, so that nobody adopts them twice.

    :raises StartError: what was handed over is not what the variables say.
    """
    variables = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    given = {variable: environ.pop(variable) for variable in variables if variable in environ}
    count = _number(given, "LISTEN_FDS")
    if not count or _number(given, "LISTEN_PID") != pid:
        return ()
    if count > _MAX_FDS:
        raise StartError(f"LISTEN_FDS={count}: at most {_MAX_FDS} sockets can be handed over")
    names = given.get("LISTEN_FDNAMES")
    labels = ["unknown"] * count if names is None else names.split(":")
    if len(labels) != count:
        raise StartError(f"LISTEN_FDS={count}, but LISTEN_FDNAMES={names} names {len(labels)}")
    adopted: list[Inherited] = []
    try:
        adopted.extend(Inherited(label, _adopt(_FIRST_FD + index)) for index, label in enumerate(labels))
    except StartError:
        for inherited in adopted:
            inherited.socket.close()
        raise
    return tuple(adopted)


def credentials_directory(environ: Mapping[str, str]) -> Path | None:
    """The folder with what LoadCredential= gave this service (systemd.exec(5)); None where there is none.

    :raises StartError: its path is not absolute.
    """
    path = environ.get("CREDENTIALS_DIRECTORY")
    if not path:
        return None
    if not path.startswith("/"):
        raise StartError(f"CREDENTIALS_DIRECTORY={path}: not an absolute path")
    return Path(path)


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"descriptor {fd} handed over by systemd is no socket: {error.strerror}") from error
    if adopted.type != socket.SOCK_STREAM or not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        adopted.close()
        raise StartError(f"descriptor {fd} handed over by systemd does not listen; use ListenStream= and Accept=no")
    adopted.setblocking(False)
    return adopted


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,20}", text):
        raise StartError(f"{variable}={text!r}: not a number")
    return int(text)
