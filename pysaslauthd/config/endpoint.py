"""Where metrics are served: ``127.0.0.1:9797``, ``[::1]:9797`` or ``unix:/path``."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from typing import NamedTuple

from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import ConfigError

_UNIX_MODE = 0o660


class TcpPlace(NamedTuple):
    """An address of this machine and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Endpoint = TcpPlace | SocketPlace


def parse_endpoint(text: str) -> Endpoint:
    """An endpoint as the command line names it; a path may have ``:mode=0660,owner=…,group=…`` behind it.

    :raises ConfigError: it is none.
    """
    scheme, _, path = text.partition(":")
    if scheme == "unix":
        return SocketPlace.parse(path, mode=_UNIX_MODE)
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if found is not None and 1 <= int(found[3]) <= 65535:
        with suppress(ValueError):
            return TcpPlace(str(ipaddress.ip_address(found[1] or found[2])), int(found[3]))
    raise ConfigError(
        f"{text!r}: an address and a port are needed, as in 127.0.0.1:9797 or [::1]:9797, or unix: and a path"
    )
