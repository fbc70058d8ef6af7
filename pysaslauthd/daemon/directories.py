"""The directories of one configuration: the main file's, and those of the realms."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

from pysaslauthd.config import LdapSettings, Loaded
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.server import IDLE_BINDERS, SEARCH_CONNECTIONS
from pysaslauthd.directory.servers import Count, Servers

if TYPE_CHECKING:
    from pysaslauthd.directory.ldif import LdifDirectory


class Part(NamedTuple):
    """One directory, and whose it is: the main file's under an empty name, else the first realm's that needs it."""

    realm: str
    directory: Servers | LdifDirectory
    connections: int
    """To all its servers at most; 0 for a file."""

    def states(self) -> list[ServerState]:
        """How its servers are, in the order of the configuration."""
        return [state._replace(realm=self.realm) for state in self.directory.states()]


class Directories:
    """One directory for all settings that can share it: those with the same connections, or file and hash limit."""

    def __init__(self, parts: dict[Hashable, Part]) -> None:
        self._parts = parts

    @classmethod
    async def make(cls, loaded: Loaded, binds: int, threads: Executor, count: Count = lambda *_: None) -> Directories:
        """The configuration's directories, not started. LDIF files are read, in a thread: they may be large.

        :param binds: user binds under way at once in each directory; 0 sets no bound.
        :param threads: where the slow hashes of LDIF files are checked.
        :param count: told of each operation of LDAP servers.
        :raises ConfigError: TLS files cannot be used, or a file is not LDIF.
        :raises StartError: a file cannot be read.
        """
        parts: dict[Hashable, Part] = {}
        for realm, settings in loaded.parts():
            shared = _shared(settings)
            if shared in parts:
                continue
            if settings.embedded:
                # Few sites have a file, and all wait for what is imported.
                from pysaslauthd.directory.ldif import LdifDirectory  # noqa: PLC0415 - see above

                path, limit = settings.servers[0].path, settings.hash_limit
                file = await asyncio.to_thread(LdifDirectory, path, threads, hash_limit=limit)
                parts[shared] = Part(realm, file, 0)
            else:
                servers = Servers(settings, deadline=loaded.daemon.login_deadline, binds=binds, count=count)
                connections = len(settings.servers) * (SEARCH_CONNECTIONS + (binds or IDLE_BINDERS))
                parts[shared] = Part(realm, servers, connections)
        return cls(parts)

    def of(self, settings: LdapSettings) -> Servers | LdifDirectory:
        """The directory that these settings of the configuration are asked about."""
        return self._parts[_shared(settings)].directory

    @property
    def parts(self) -> Iterable[Part]:
        """Each directory once."""
        return self._parts.values()

    def states(self) -> list[ServerState]:
        """How each server of each directory is."""
        return [state for part in self.parts for state in part.states()]

    def unreachable(self) -> list[ServerState]:
        """The servers of each directory of which none can be reached."""
        states = [part.states() for part in self.parts]
        return [state for each in states if not any(state.up for state in each) for state in each]

    @property
    def failovers(self) -> int:
        """Operations that were asked of another server than the first."""
        return sum(part.directory.failovers for part in self.parts if isinstance(part.directory, Servers))

    @property
    def connections(self) -> int:
        """To all servers at most."""
        return sum(part.connections for part in self.parts)

    def start(self) -> None:
        """Begin to connect to the first server of each."""
        for part in self.parts:
            part.directory.start()

    async def stop(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(part.directory.stop() for part in self.parts))


def _shared(settings: LdapSettings) -> Hashable:
    return (settings.servers[0].path, settings.hash_limit) if settings.embedded else settings.connections
