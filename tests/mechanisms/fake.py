"""A directory that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from pysaslauthd import config
from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.interface import Bound, Directory, Entry, Found, Query
from pysaslauthd.errors import DirectoryError
from pysaslauthd.flow import future
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.model import AuthRequest, Identity, Outcome, identify
from rig import people

PENGUIN = people.PENGUIN_DN.encode()
NOW = 1_700_000_000.0
"""2023-11-14 22:13:20 UTC, day 19675."""


class FakeDirectory:
    """Answers in order, the last one again and again; an error is raised."""

    def __init__(
        self,
        *found: Found | DirectoryError,
        bound: Bound | DirectoryError | None = None,
        member: bool | DirectoryError = False,
    ) -> None:
        self._found = list(found)
        self._bound = bound or Bound(0)
        self._member = member
        self.searches: list[tuple[Query, Identity, bytes]] = []
        self.binds: list[tuple[bytes, bytes]] = []
        self.compares: list[tuple[bytes, str, bytes]] = []

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        self.searches.append((query, identity, dn))
        answer = self._found.pop(0) if len(self._found) > 1 else self._found[0]
        if isinstance(answer, DirectoryError):
            raise answer
        return answer

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        self.compares.append((dn, attribute, value))
        if isinstance(self._member, DirectoryError):
            raise self._member
        return self._member

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        self.binds.append((dn, password))
        if isinstance(self._bound, DirectoryError):
            raise self._bound
        return self._bound

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        return await self.bind(authcid, password)


def entry(controls: Mapping[str, bytes] | None = None, /, **attributes: Sequence[str | bytes] | str | bytes) -> Entry:
    """Penguin's entry with these attributes."""
    held = {}
    for name, values in attributes.items():
        listed = [values] if isinstance(values, str | bytes) else values
        held[name.lower()] = [value.encode() if isinstance(value, str) else value for value in listed]
    return Entry(PENGUIN, held, dict(controls or {}))


def found(*entries: Entry, size_limit_exceeded: bool = False, references: int = 0) -> Found:
    return Found(list(entries), size_limit_exceeded, references)


def settings(method: str = "custom", **keys: str) -> LdapSettings:
    """The article's configuration, without warnings."""
    conf = {
        "ldap_bind_dn": people.SERVICE_DN,
        "ldap_password": people.SERVICE_PASSWORD,
        "ldap_search_base": people.PEOPLE,
        "ldap_filter": "(&(objectclass=mailRecipient)(mail=%U@%d))",
        "ldap_auth_method": method,
        **keys,
    }
    loaded = config.parse("".join(f"{key}: {value}\n" for key, value in conf.items() if value).encode(), "f")
    assert loaded.warnings == ()
    return loaded.settings


def check(
    directory: Directory,
    settings: LdapSettings,
    password: str = people.PENGUIN_PASSWORD,
    login: str = people.PENGUIN,
    *,
    threads: Executor | None = None,
    clock: Callable[[], float] = lambda: NOW,
) -> Outcome:
    """One login through a mechanism of its own."""
    identity = identify(AuthRequest(login.encode(), b""))

    async def once() -> Outcome:
        with threads or ThreadPoolExecutor(1) as pool:
            return await future(
                LdapMechanism(settings, directory, pool, clock=clock).check(identity, password.encode())
            )

    return asyncio.run(once())
