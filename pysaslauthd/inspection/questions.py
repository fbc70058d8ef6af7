"""What is asked of a directory, LDAP servers or an LDIF file, on behalf of no user in particular."""

from __future__ import annotations

from dataclasses import replace

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Entry, Found, Query
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryRefused
from pysaslauthd.flow import future
from pysaslauthd.inspection.step import Finding, Result, Stage
from pysaslauthd.mechanisms import visibility
from pysaslauthd.mechanisms.user import NOBODY, anybody, user_query
from pysaslauthd.wire.ldap import codes
from pysaslauthd.wire.ldap.request import NO_ATTRIBUTES

SAMPLE = 10
"""Users that are looked at: one alone may lack a password."""

_NO_USER = "no user to look at; pysaslauthctl explain USER looks at one"
_ANY = Template.parse("(objectClass=*)")
_NO_MEMBER = b"cn=nobody"
"""A value to compare with where none is known: whether it may be compared shows all the same."""

_TOO_MANY = frozenset({codes.TIME_LIMIT_EXCEEDED, codes.ADMIN_LIMIT_EXCEEDED, codes.UNWILLING_TO_PERFORM})
"""A directory that does not search for everybody."""


class Questions:
    """The questions to one directory, in the order in which one hangs on the other."""

    def __init__(self, settings: LdapSettings, directory: Servers | LdifDirectory) -> None:
        self._settings = settings
        self._directory = directory
        self._users: list[Entry] = []

    def stages(self, seconds: float) -> list[Stage]:
        """The stages that the configuration makes necessary.

        :param seconds: for each.
        """
        settings = self._settings
        stages = []
        if settings.auth_method is not AuthMethod.FASTBIND:
            stages += [
                Stage("filter", self._filter, seconds, needed=True),
                Stage("search base", self._base, seconds, needed=True, advice="see ldap_search_base"),
                Stage("users", self._sample, seconds, advice="see ldap_search_base, ldap_filter and ldap_scope"),
            ]
        if settings.auth_method is AuthMethod.CUSTOM:
            stages.append(Stage("passwords", self._passwords, seconds))
        if visibility.looked_for(settings):
            stages.append(Stage("account state", self._account_state, seconds))
        if settings.checks_group:
            work = {"attr": self._group, "filter": self._group_filter, "memberof": self._groups_of_users}
            stages.append(
                Stage("group", work[settings.group_match_method], seconds, advice="see the keys ldap_group_…")
            )
        return stages

    async def _filter(self) -> Finding:
        try:
            self._directory.prepare(user_query(self._settings))
        except ValueError as error:
            return Finding(Result.ERROR, str(error), "mend ldap_filter")
        return Finding(Result.OK, self._settings.filter)

    async def _base(self) -> Finding:
        base = self._settings.search_base
        if Template.parse(base).tokens:
            return _needs_login("ldap_search_base")
        entries = await self._entry(base)
        if entries is None:
            return _no_entry(base)  # pragma: no cover - Python 3.11 traces no line here, after an error below
        if not entries:  # 389 DS answers so where nothing may be seen, be it there or not
            return Finding(Result.SKIPPED, f"the service account may not see {base or 'the root'}; its users will tell")
        return Finding(Result.OK, base or "the root")

    async def _sample(self) -> Finding:
        settings = self._settings
        if Template.parse(settings.search_base).tokens:
            return _needs_login("ldap_search_base")
        wide = anybody(settings.filter)
        if Template.parse(wide).tokens:
            return _needs_login("ldap_filter")
        asked = replace(user_query(settings), filter=Template.parse(wide), size_limit=SAMPLE, controls=())
        try:
            found = await self._search(asked)
        except DirectoryRefused as refused:
            if refused.code not in _TOO_MANY:
                raise
            return Finding(Result.SKIPPED, f"the directory does not search for {wide}: {refused}")
        self._users = found.entries
        if found.entries:
            return Finding(Result.OK, f"found with {wide}")
        return Finding(
            Result.ERROR,
            f"nobody is found with {wide}, so nobody can log in",
            "mend ldap_search_base, ldap_filter or ldap_scope, or allow the service account to search for the filter's"
            " attributes",
        )

    async def _passwords(self) -> Finding:
        name = self._settings.password_attr
        if not self._users:
            return Finding(Result.SKIPPED, _NO_USER)
        having = sum(name.lower() in user.attributes for user in self._users)
        if having:
            return Finding(Result.OK, f"{name} can be read")
        return Finding(
            Result.ERROR,
            f"{len(self._users)} users were looked at, and none shows {name}",
            f"allow the service account to read {name}, or use ldap_auth_method: bind",
        )

    async def _account_state(self) -> Finding:
        seen, text = await future(visibility.look(self._settings, self._directory))
        if seen is None:
            return Finding(Result.SKIPPED, text)
        detail, _, advice = text.partition("; ")
        return Finding(Result.OK if seen else Result.WARNING, detail, advice)

    async def _group(self) -> Finding:
        settings = self._settings
        dn, name = settings.group_dn, settings.group_attr
        if Template.parse(dn).tokens:
            return _needs_login("ldap_group_dn")
        entries = await self._entry(dn, name)
        if entries is None:
            return _no_entry(dn)  # pragma: no cover - as above
        members = entries[0].attributes.get(name.lower(), []) if entries else []
        compared = forbidden = False
        try:
            compared = await future(self._directory.compare(dn.encode(), name, members[0] if members else _NO_MEMBER))
        except DirectoryRefused as refused:
            if refused.code != codes.INSUFFICIENT_ACCESS_RIGHTS:
                raise
            forbidden = True
        if compared:
            return Finding(Result.OK, f"{name} of {dn} can be compared")
        if members or forbidden:
            return Finding(
                Result.ERROR,
                f"{name} of {dn} cannot be compared, so nobody can log in",
                f"allow the service account to compare {name}",
            )
        return Finding(
            Result.WARNING,
            f"{dn} shows no {name}: it has none, or the service account may not read it, or there is no such entry",
            "log in as a member with pysaslauthctl explain USER",
        )

    async def _group_filter(self) -> Finding:
        settings = self._settings
        base = settings.group_search_base
        try:
            self._directory.prepare(self._query(base, Template.parse(settings.group_filter)))
        except ValueError as error:
            return Finding(Result.ERROR, str(error), "mend ldap_group_filter")
        if Template.parse(base).tokens:
            return _needs_login("ldap_group_search_base")
        wide = anybody(settings.group_filter)
        if Template.parse(wide).tokens:
            return _needs_login("ldap_group_filter")
        query = self._query(base, Template.parse(wide), settings.group_scope, most=1)
        if (await self._search(query)).entries:
            return Finding(Result.OK, f"found with {wide}")
        return Finding(
            Result.ERROR,
            f"no group is found with {wide}, so nobody can log in",
            "mend ldap_group_filter or ldap_group_search_base, or allow the service account to search for the filter's"
            " attributes",
        )

    async def _groups_of_users(self) -> Finding:
        name = self._settings.group_attr
        if not self._users:
            return Finding(Result.SKIPPED, _NO_USER)
        if any(name.lower() in user.attributes for user in self._users):
            return Finding(Result.OK, f"{name} can be read")
        return Finding(
            Result.WARNING,
            f"{len(self._users)} users were looked at, and none shows {name}",
            f"allow the service account to read {name}, if users have it",
        )

    async def _entry(self, dn: str, *attributes: str) -> list[Entry] | None:
        """An entry, or nothing where it may not be seen; None: the directory says that there is none."""
        try:
            return (await self._search(self._query(dn, _ANY, "base", *attributes))).entries
        except DirectoryRefused as refused:
            if refused.code != codes.NO_SUCH_OBJECT:
                raise
            return None

    def _query(self, base: str, filter_: Template, scope: str = "sub", *attributes: str, most: int = 0) -> Query:
        settings = self._settings
        return Query(
            Template.parse(base),
            filter_,
            scope,
            attributes or NO_ATTRIBUTES,
            size_limit=most,
            time_limit=settings.time_limit,
            deref=settings.deref,
        )

    async def _search(self, query: Query) -> Found:
        return await future(self._directory.search(query, NOBODY))


def _no_entry(dn: str) -> Finding:
    return Finding(
        Result.ERROR, f"there is no {dn}, or none that the service account may see", "mend the DN, or allow search"
    )


def _needs_login(key: str) -> Finding:
    return Finding(Result.SKIPPED, f"{key} hangs on the login; pysaslauthctl explain USER looks at one")
