"""The keys without ``ldap_``: what saslauthd.conf says about the daemon itself. To add a key, add a field.

saslauthd passes over keys that it does not know, so a file with these still serves it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from pysaslauthd.config.keys import PATH, TEXT, Kind, choice, integer, key, keys_of, seconds, shown, text_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MONTH = 30 * 86400


def _networks_of(value: bytes) -> tuple[Network, ...]:
    networks = []
    for word in re.split(r"[\s,]+", text_of(value).strip(" \t,")):
        try:
            networks += [ipaddress.ip_network(word)] if word else []
        except ValueError as error:
            raise ValueError(f"{shown(word)} is not a network: {error}; write 192.0.2.0/24 or 2001:db8::/32") from None
    return tuple(networks)


NETWORKS = Kind("addresses and networks, 192.0.2.7 or 2001:db8::/32, separated by blanks or commas", _networks_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """What /etc/saslauthd.conf says about the daemon. A field's name is its key."""

    user: str = key(
        TEXT, "", "The user that the daemon, started as root, becomes once its sockets are made; none: it stays root."
    )
    group: str = key(TEXT, "", "The group that it becomes with user; none: the user's own.")
    login_deadline: float = key(
        seconds(0.5, 60),
        "4",
        "The time within which every login is answered; the least patient clients give up after 5 seconds.",
        unit="seconds",
    )
    request_timeout: float = key(
        seconds(0.1, 600), "10", "How long a request on a mux socket may take to arrive whole.", unit="seconds"
    )
    max_connections: int = key(
        integer(1, 1_000_000), "4096", "The most open connections of one socket; past it, new ones are closed at once."
    )
    max_pending_logins: int = key(
        integer(1, 1_000_000),
        "4096",
        "The most logins that the directory is asked about at once; past it, new ones are unavailable at once.",
    )
    cache_stale: int = key(
        integer(0, _MONTH),
        "0",
        "How long after its lifetime a cached login is still accepted while no directory answers; 0: not at all.",
        unit="seconds",
    )
    cache_revalidate: int = key(
        integer(0, _MONTH),
        "0",
        "After how long a cached login, though still accepted at once, is asked about again behind the scenes, where no"
        " directory tells of changes (ldap_watch); 0: not at all.",
        unit="seconds",
    )
    failure_delay: float = key(
        seconds(0, 3),
        "3",
        "The longest delay of the answer to a wrong password, once there have been many; 0: none is delayed.",
        unit="seconds",
    )
    free_failures: int = key(
        integer(0, 1_000_000), "5", "The wrong passwords for one user that are answered without delay."
    )
    free_failures_per_address: int = key(
        integer(0, 1_000_000), "20", "The wrong passwords from one client address that are answered without delay."
    )
    failure_memory: int = key(
        integer(1, _MONTH),
        "600",
        "How long wrong passwords count: those for a user from the last one on, those from an address from the first.",
        unit="seconds",
    )
    trusted_networks: tuple[Network, ...] = key(
        NETWORKS, "", "The client addresses whose wrong passwords are neither counted nor delayed."
    )
    realm_config: str = key(
        PATH,
        "",
        "A folder of files REALM.conf; for logins of that realm, the keys ldap_… in its file override those here.",
    )
    realm_unlisted: Literal["main", "refuse"] = key(
        choice("main", "refuse"),
        "main",
        "Who answers for a realm that has no file in realm_config: main is this file, refuse is nobody.",
    )

    @property
    def serves_unlisted(self) -> bool:
        """Whether the main file answers for realms that have no file of their own."""
        return self.realm_unlisted == "main"


KEYS = keys_of(DaemonSettings, "")
"""Every key by its name, in the order of declaration."""
