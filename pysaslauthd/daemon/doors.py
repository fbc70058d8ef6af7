"""The sockets that logins come through."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, get_args

from pysaslauthd.config import LdapSettings, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import StartError
from pysaslauthd.metrics import Fault
from pysaslauthd.model import Door
from pysaslauthd.server import listener
from pysaslauthd.server.listener import Listener
from pysaslauthd.server.mux import Authenticator, MuxServer
from pysaslauthd.systemd import Inherited

if TYPE_CHECKING:
    from pysaslauthd.server.dovecot import DovecotServer


class DoorState(NamedTuple):
    """A socket, and how many connections are open on it now."""

    door: Door
    path: str
    open: int


class Doors:
    """A server for each socket: systemd's, then those of the command line. All of them can be had, or none is kept.

    :raises StartError: one cannot be had.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        options: DaemonOptions,
        loaded: Loaded,
        inherited: tuple[Inherited, ...],
    ) -> None:
        self._listeners = _listeners(options, inherited)
        self._servers = [
            _server(authenticator, kind, listening, options, loaded) for kind, listening in self._listeners
        ]

    def start(self) -> None:
        """Serve on the running event loop."""
        for server in self._servers:
            server.start()

    def give_up(self) -> None:
        """Close the sockets, which have not been served."""
        for _, listening in self._listeners:
            listening.stop()

    async def stop(self, seconds: float) -> None:
        """Accept no more, answer what has been asked within so many seconds, close."""
        await asyncio.gather(*(server.stop(seconds) for server in self._servers))

    def use(self, settings: LdapSettings) -> None:
        """Serve with other settings: the default realm. What is set when a socket is made stays."""
        for server in self._servers:
            if not isinstance(server, MuxServer):
                server.use(settings.default_realm.encode())

    def states(self) -> list[DoorState]:
        """How each socket is."""
        return [
            DoorState(kind, listening.path, server.open_connections)
            for (kind, listening), server in zip(self._listeners, self._servers, strict=True)
        ]

    def faults(self) -> dict[tuple[Door, Fault], int]:
        """Requests that were no login, since the start, those of which there were none too."""
        faults: dict[tuple[Door, Fault], int] = dict.fromkeys(product(get_args(Door), get_args(Fault)), 0)
        for (kind, listening), server in zip(self._listeners, self._servers, strict=True):
            faults[kind, "full"] += listening.refused
            for fault, count in server.faults.items():
                faults[kind, fault] += count
        return faults

    def __len__(self) -> int:
        return len(self._servers)

    def __str__(self) -> str:
        return ", ".join(f"{kind} {listening.path}" for kind, listening in self._listeners)


def _server(
    authenticator: Authenticator, kind: Door, listening: Listener, options: DaemonOptions, loaded: Loaded
) -> MuxServer | DovecotServer:
    own = loaded.daemon
    if kind == "mux":
        return MuxServer(
            authenticator,
            listening,
            unavailable=options.unavailable,
            max_connections=own.max_connections,
            arrival_seconds=own.request_timeout,
        )
    # Most sites have the mux alone, and all wait for what is imported.
    from pysaslauthd.server.dovecot import DovecotServer  # noqa: PLC0415 - see above

    return DovecotServer(
        authenticator,
        listening,
        unavailable=options.dovecot_unavailable,
        default_realm=loaded.settings.default_realm.encode(),
        max_connections=own.max_connections,
    )


def _listeners(options: DaemonOptions, inherited: tuple[Inherited, ...]) -> list[tuple[Door, Listener]]:
    doors: list[tuple[Door, Listener]] = []
    try:
        kinds = [_door(each.name) for each in inherited]
        doors += [(kind, listener.adopt(each.socket.detach())) for kind, each in zip(kinds, inherited, strict=True)]
        if "mux" not in kinds:
            doors.append(("mux", listener.bind(str(options.mux_path))))
        doors += [("mux", _bind(place)) for place in options.mux_sockets]
        doors += [("dovecot", _bind(place)) for place in options.dovecot_sockets]
    except StartError:
        for _, door in doors:
            door.stop()
        for each in inherited:
            each.socket.close()
        raise
    return doors


def _bind(place: SocketPlace) -> Listener:
    return listener.bind(place.path, mode=place.mode, owner=place.owner, group=place.group)


def _door(name: str) -> Door:
    doors: dict[str, Door] = {"mux": "mux", "dovecot": "dovecot"}
    if name in doors:
        return doors[name]
    raise StartError(
        f"systemd hands over a socket named {name}; write FileDescriptorName=mux, or =dovecot, in its unit"
    )
