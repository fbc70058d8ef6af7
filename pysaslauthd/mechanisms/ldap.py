"""The mechanism ``ldap``: bind, custom and fastbind, and the group check after them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from pysaslauthd import passwords
from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Directory, Entry, Query
from pysaslauthd.directory.template import Template, escape_dn
from pysaslauthd.errors import DirectoryError, StoredPasswordError
from pysaslauthd.flow import from_future
from pysaslauthd.mechanisms import verdict
from pysaslauthd.model import Identity, Outcome, Reason, Verdict

_NO_ATTRIBUTES = ("1.1",)
"""RFC 4511 section 4.5.1.8: the DN alone."""


class LdapMechanism:
    """Decides one login by asking a directory.

    :param directory: LDAP servers or an LDIF file.
    :param threads: where password hashes that take long are checked.
    """

    def __init__(self, settings: LdapSettings, directory: Directory, threads: Executor) -> None:
        self._directory = directory
        self._threads = threads
        self._hash_limit = settings.hash_limit
        self._password_attribute = settings.password_attr.lower()
        self._filter = Template.parse(settings.filter)
        self._sasl_plain = settings.use_sasl and settings.mech == "PLAIN"
        custom = settings.auth_method is AuthMethod.CUSTOM
        self._user = Query(
            Template.parse(settings.search_base),
            self._filter,
            settings.scope,
            (settings.password_attr,) if custom else _NO_ATTRIBUTES,
            size_limit=settings.size_limit,
            time_limit=settings.time_limit,
            deref=settings.deref,
        )
        self._method = {
            AuthMethod.BIND: self._bind,
            AuthMethod.CUSTOM: self._custom,
            AuthMethod.FASTBIND: self._fastbind,
        }[settings.auth_method]
        used = [self._filter]
        if settings.auth_method is not AuthMethod.FASTBIND:
            used.append(self._user.base)
        elif self._sasl_plain:
            used = [Template.parse("%u%r")]

        self._group_dn: Template | None = None
        self._group_attribute = settings.group_attr
        self._group: Query | None = None
        if settings.group_match_method == "filter" and settings.group_filter:
            self._group = Query(
                Template.parse(settings.group_search_base),
                Template.parse(settings.group_filter),
                settings.group_scope,
                _NO_ATTRIBUTES,
                size_limit=1,  # one is enough
                time_limit=settings.time_limit,
                deref=settings.deref,
            )
            used += self._group.base, self._group.filter
        elif settings.group_match_method == "attr" and settings.group_dn:
            self._group_dn = Template.parse(settings.group_dn)
            used.append(self._group_dn)
        tokens = sorted({token for template in used for token in template.tokens} - {"D"})
        self._key = Template(("",) * (len(tokens) + 1), tuple(tokens))

    def key(self, identity: Identity) -> bytes:
        """What the directory would be asked about: equal for two logins exactly if the questions are equal.

        It holds the value of each token that the templates use, so that one person is one key however the
        login was typed, unless the templates themselves tell the spellings (or the services) apart.
        """
        return b"\0".join(self._key.values(identity))

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        """Ask the directory about a login whose password is not empty. A flow; never raises a DirectoryError."""
        try:
            outcome = await self._method(identity, password)
            if outcome.verdict is Verdict.ACCEPTED and (self._group or self._group_dn):
                outcome = await self._in_group(identity, outcome)
        except DirectoryError as error:
            return verdict.of_error(error)
        return outcome

    # -- the methods

    async def _custom(self, identity: Identity, password: bytes) -> Outcome:
        """Compare the password with the entry's own values, of which any may match."""
        found = await self._find(identity)
        if isinstance(found, Outcome):
            return found
        stored = found.attributes.get(self._password_attribute)
        if not stored:
            return Outcome(Reason.NO_PASSWORD, "none stored, or none that the service account may read", found.dn)
        return await self._compare(stored, password, found.dn)

    async def _bind(self, identity: Identity, password: bytes) -> Outcome:
        """Find the entry, bind as it."""
        found = await self._find(identity)
        if isinstance(found, Outcome):
            return found
        return verdict.of_bind(await self._directory.bind(found.dn, password))._replace(dn=found.dn)

    async def _fastbind(self, identity: Identity, password: bytes) -> Outcome:
        """Bind as the DN that the filter makes, or by SASL as the login; no search."""
        if self._sasl_plain:
            realm = identity.realm
            authcid = identity.login if b"@" in identity.login or not realm else identity.login + b"@" + realm
            bound = await self._directory.bind_plain(authcid, password)
            return verdict.of_bind(bound)._replace(dn=bound.authzid.removeprefix(b"dn:"))
        dn = self._filter.expand(identity, escape_dn)
        return verdict.of_bind(await self._directory.bind(dn, password))._replace(dn=dn)

    # -- their parts

    async def _find(self, identity: Identity) -> Entry | Outcome:
        """The user's one entry, or why there is none."""
        entries, more, references = await self._directory.search(self._user, identity)
        if len(entries) == 1 and not more:
            return entries[0]
        if entries or more:
            return Outcome(Reason.AMBIGUOUS_USER, "several entries match ldap_filter")
        detail = f"no entry, but {references} referrals that are not followed" if references else ""
        return Outcome(Reason.UNKNOWN_USER, detail)

    async def _compare(self, stored: Sequence[bytes], password: bytes, dn: bytes) -> Outcome:
        """The password against each stored value; what could not be checked is told apart from a mismatch."""
        mismatch: list[str] = []
        unchecked: list[StoredPasswordError] = []
        for value in stored:
            try:
                parsed = passwords.parse(value, max_ms=self._hash_limit)
            except StoredPasswordError as error:
                unchecked.append(error)
                continue
            if parsed.slow:
                loop = asyncio.get_running_loop()
                matches = await from_future(loop.run_in_executor(self._threads, parsed.verify, password))
            else:
                matches = parsed.verify(password)
            if matches:
                return Outcome(Reason.OK, dn=dn)
            mismatch.append(parsed.scheme)
        for failure in unchecked:  # it might have matched, had it been checked
            if failure.reason.verdict is Verdict.UNAVAILABLE:
                return Outcome(failure.reason, f"scheme {failure.scheme}", dn)
        if mismatch:
            return Outcome(Reason.WRONG_PASSWORD, f"scheme {' '.join(mismatch)}", dn)
        return Outcome(unchecked[0].reason, f"scheme {unchecked[0].scheme}", dn)

    async def _in_group(self, identity: Identity, outcome: Outcome) -> Outcome:
        """The accepted login's outcome, or that the user is not in the group. Asked as the service account."""
        if self._group is not None:
            member = bool((await self._directory.search(self._group, identity, outcome.dn)).entries)
        elif self._group_dn is not None:
            group = self._group_dn.expand(identity, escape_dn)
            member = await self._directory.compare(group, self._group_attribute, outcome.dn)
        else:
            return outcome
        return outcome if member else outcome._replace(reason=Reason.NOT_IN_GROUP)
