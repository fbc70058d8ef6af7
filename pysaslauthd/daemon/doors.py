"""The sockets that logins come through."""

from __future__ import annotations

from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import StartError
from pysaslauthd.model import Door
from pysaslauthd.server import listener
from pysaslauthd.server.listener import Listener
from pysaslauthd.systemd import Inherited


def open_doors(options: DaemonOptions, inherited: tuple[Inherited, ...]) -> list[tuple[Door, Listener]]:
    """All sockets to serve: systemd's, then those of the command line. All of them can be had, or none is kept."""
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
