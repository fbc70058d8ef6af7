"""The entries that an accepted login hangs on, by the names under which a watch tells of their changes."""

from __future__ import annotations

import logging
from typing import Self

from pysaslauthd.config import LdapSettings
from pysaslauthd.directory.areas import Area, areas_of
from pysaslauthd.directory.interface import Directory, Entry, Query
from pysaslauthd.directory.names import name_of, name_of_uuid
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryError
from pysaslauthd.log import escape
from pysaslauthd.model import Identity, Outcome

logger = logging.getLogger(__name__)

ENTRY_UUID = "entryUUID"
"""RFC 4530: what stays the same when an entry is renamed. OpenLDAP tells of renamed entries by it."""

_SEEN = Query(Template.parse("%D"), Template.parse("(objectClass=*)"), "base", (ENTRY_UUID,))
"""Asks whether the service account sees an entry in the way that a watch does."""


class Sources:
    """Adds to an accepted login's outcome what it hangs on.

    :param name: the directory's.
    """

    def __init__(self, settings: LdapSettings, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._areas = (Area(""),) if settings.embedded else areas_of(settings)
        # An entry behind a referral or an alias may be changed where nobody watches.
        self._told = settings.watch and not settings.referrals and settings.deref == "never"
        self._own_entry = settings.group_match_method == "memberof"
        self._warned = False

    @classmethod
    def of(cls, settings: LdapSettings, directory: Directory, name: str) -> Self | None:
        """None where there is nothing to add."""
        return cls(settings, directory, name) if settings.watch or name else None

    async def settle(self, identity: Identity, outcome: Outcome, entry: Entry | None) -> Outcome:
        """The outcome with the names of the user's entry, and of the group's that let the user in. A flow.

        :param entry: the user's, where the method has read it.
        """
        if not self._told:
            return outcome._replace(directory=self._name)
        names = self._names(entry) if entry is not None else await self._seen(identity, outcome.dn)
        if names and outcome.group:
            # A change of memberOf is one of the user's own entry as a rule, so that the group need not be seen.
            group = await self._seen(identity, outcome.group) if not self._own_entry else (name_of(outcome.group),)
            names = (*names, *group) if group else ()
        return outcome._replace(directory=self._name, names=names)

    async def _seen(self, identity: Identity, dn: bytes) -> tuple[bytes, ...]:
        try:
            found = await self._directory.search(_SEEN, identity, dn)
        except DirectoryError:  # the login itself has been decided
            return ()
        names = self._names(found.entries[0]) if found.entries else ()
        if not names and not self._warned:
            self._warned = True
            logger.warning(
                "ldap_watch: the service account does not see %s, or it is not below what is watched:"
                " cached logins that hang on it are asked again after ldap_watch_grace",
                escape(dn),
            )
        return names

    def _names(self, entry: Entry) -> tuple[bytes, ...]:
        name = name_of(entry.dn)
        if not any(area.holds(name) for area in self._areas):
            return ()
        uuids = entry.attributes.get(ENTRY_UUID.lower())
        return (name, name_of_uuid(uuids[0])) if uuids else (name,)
