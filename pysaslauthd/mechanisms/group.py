"""Whether a user is in the group that the configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.interface import Directory, Entry, Query
from pysaslauthd.directory.rules import distinguished_name
from pysaslauthd.directory.template import Template, escape_dn
from pysaslauthd.model import Identity, Outcome, Reason
from pysaslauthd.wire.ldap.request import NO_ATTRIBUTES


class Group:
    """The check of a group: by compare, by a search, or in the user's own entry. Asked as the service account.

    ``templates`` are those that the answer hangs on; ``query`` is the search, where the match is by filter.
    """

    def __init__(self, settings: LdapSettings, directory: Directory) -> None:
        self._directory = directory
        self._attribute = settings.group_attr
        self._own_entry = settings.group_match_method == "memberof"
        self.query: Query | None = None
        self._dn = Template.parse(settings.group_dn)
        self.templates: tuple[Template, ...] = (self._dn,)
        if settings.group_match_method == "filter":
            self.query = Query(
                Template.parse(settings.group_search_base),
                Template.parse(settings.group_filter),
                settings.group_scope,
                NO_ATTRIBUTES,
                size_limit=1,  # one is enough
                time_limit=settings.time_limit,
                deref=settings.deref,
            )
            self.templates = (self.query.base, self.query.filter)

    @classmethod
    def of(cls, settings: LdapSettings, directory: Directory) -> Self | None:
        """The configuration's group; None where it has none."""
        wanted = settings.group_filter if settings.group_match_method == "filter" else settings.group_dn
        return cls(settings, directory) if wanted else None

    async def settle(self, identity: Identity, outcome: Outcome, entry: Entry | None) -> Outcome:
        """An accepted login's outcome, or that the user is not in the group.

        :param entry: the user's, where the method has read it.
        """
        detail = ""
        group = self._dn.expand(identity, escape_dn)
        if self.query is not None:
            found = (await self._directory.search(self.query, identity, outcome.dn)).entries
            member, group = bool(found), found[0].dn if found else b""
        elif self._own_entry:
            held = entry.attributes.get(self._attribute.lower(), []) if entry is not None else []
            member = _holds(held, group)
            if not held:
                detail = f"no {self._attribute}, or none that the service account may read"
        else:
            member = await self._directory.compare(group, self._attribute, outcome.dn)
        if not member:
            return outcome._replace(reason=Reason.NOT_IN_GROUP, detail=detail)
        return outcome._replace(group=group)


def _holds(held: Sequence[bytes], dn: bytes) -> bool:
    """Whether a DN is among some, however they are written."""
    if dn in held:
        return True
    wanted = distinguished_name(dn)
    return any(distinguished_name(each) == wanted for each in held)
