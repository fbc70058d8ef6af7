"""The mechanism ``ldap``: bind, custom and fastbind, and what is looked at after the password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace

from pysaslauthd import passwords
from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Directory, Entry, Found, Query
from pysaslauthd.directory.template import Template, escape_dn
from pysaslauthd.errors import DirectoryError, DirectoryRefused, ProtocolError, StoredPasswordError
from pysaslauthd.flow import from_future
from pysaslauthd.mechanisms import state, verdict
from pysaslauthd.mechanisms.group import Group
from pysaslauthd.mechanisms.sources import Sources
from pysaslauthd.mechanisms.user import user_query
from pysaslauthd.model import Identity, Outcome, Reason, Verdict
from pysaslauthd.wire.ldap import codes

# Read several times a login, and a member of an enum takes as long to look up as a call.
_OK = Reason.OK
_MUST_CHANGE = Reason.MUST_CHANGE
_NOT_SAID = Outcome(_OK)[3:]


class LdapMechanism:
    """Decides one login by asking a directory.

    :param directory: LDAP servers or an LDIF file.
    :param threads: where password hashes that take long are checked.
    :param name: the directory's, for outcomes.
    :param clock: seconds since 1970, for what expires.
    """

    def __init__(
        self,
        settings: LdapSettings,
        directory: Directory,
        threads: Executor,
        *,
        name: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._threads = threads
        self._clock = clock
        self._hash_limit = settings.hash_limit
        self._password_attribute = settings.password_attr.lower()
        self._accepts_must_change = settings.must_change == "accept"
        self._filter = Template.parse(settings.filter)
        self._sasl_plain = settings.use_sasl and settings.mech == "PLAIN"
        self._user = user_query(settings)
        self._without_controls = replace(self._user, controls=())
        self._refusal: Callable[[Entry, float], state.Refusal | None] | None = None
        if settings.account_state:
            # A file's own bind knows of nsAccountLock alone.
            whole = settings.auth_method is AuthMethod.CUSTOM or settings.embedded
            self._refusal = state.refusal if whole else state.expired_shadow
        self._group = Group.of(settings, directory)
        self._sources = Sources.of(settings, directory, name)
        self._searches = settings.auth_method is not AuthMethod.FASTBIND
        self._judge = self._custom if settings.auth_method is AuthMethod.CUSTOM else self._bind

        used = [self._filter]
        if self._searches:
            used.append(self._user.base)
        elif self._sasl_plain:
            used = [Template.parse("%u%r")]
        if self._group is not None:
            used += self._group.templates
        tokens = sorted({token for template in used for token in template.tokens} - {"D"})
        self._key = Template(("",) * (len(tokens) + 1), tuple(tokens))

    @property
    def queries(self) -> dict[str, Query]:
        """The searches that it will ask for, by the key that their filter comes from: to be checked at start."""
        found = {"ldap_filter": self._user} if self._searches else {}
        if self._group is not None and self._group.query is not None:
            found["ldap_group_filter"] = self._group.query
        return found

    def key(self, identity: Identity) -> bytes:
        """What the directory would be asked about: equal for two logins exactly if the questions are equal.

        It holds the value of each token that the templates use, so that one person is one key however the
        login was typed, unless the templates themselves tell the spellings (or the services) apart.
        """
        return b"\0".join(self._key.values(identity))

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        """Ask the directory about a login whose password is not empty. A flow; never raises a DirectoryError.

        What else must hold is looked at once the password is known to be right, so that nobody learns it by guessing.
        """
        try:
            if self._searches:
                # The search is awaited here, and not below: each coroutine that waits costs half a microsecond.
                asked = self._user
                try:
                    found = await self._directory.search(asked, identity)
                except DirectoryRefused as refused:
                    # 389 DS refuses the search to who may not use the control, though it is not critical.
                    if refused.code != codes.INSUFFICIENT_ACCESS_RIGHTS or not asked.controls:
                        raise
                    found = await self._directory.search(self._without_controls, identity)
                    self._user = self._without_controls  # the control was to blame, then
                entries = found.entries
                if len(entries) != 1 or found.size_limit_exceeded or "aliasedobjectname" in entries[0].attributes:
                    return _nobody(found)
                entry = entries[0]
                outcome = await self._judge(entry, password)
            else:
                entry = None  # none was read
                outcome = await self._fastbind(identity, password)
            if outcome.reason is _OK and entry is not None and self._refusal is not None:
                refusal = self._refusal(entry, self._clock())
                if refusal is not None:
                    outcome = outcome._replace(reason=refusal.reason, detail=refusal.detail)
            if outcome.reason is _MUST_CHANGE and self._accepts_must_change:
                outcome = outcome._replace(reason=_OK, detail="")
            if outcome.reason is _OK and self._group is not None:
                outcome = await self._group.settle(identity, outcome, entry)
            if outcome.reason is _OK and self._sources is not None:
                outcome = await self._sources.settle(identity, outcome, entry)
        except DirectoryError as error:
            return verdict.of_error(error)
        except ProtocolError as error:
            return Outcome(Reason.DIRECTORY_REFUSED, str(error))
        return outcome

    # -- the methods: what becomes of the password

    async def _custom(self, entry: Entry, password: bytes) -> Outcome:
        """Compare the password with the entry's own values, of which any may match."""
        stored = entry.attributes.get(self._password_attribute)
        if not stored:
            missing = "none stored, or none that the service account may read"
            return Outcome(Reason.NO_PASSWORD, missing, entry.dn)
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
                # Not Outcome(…), which is a call of Python.
                return tuple.__new__(Outcome, (_OK, "", entry.dn, *_NOT_SAID))
            mismatch.append(parsed.scheme)
        # What could not be checked is told apart from a mismatch: it might have matched.
        for failure in unchecked:
            if failure.reason.verdict is Verdict.UNAVAILABLE:
                return Outcome(failure.reason, failure.detail, entry.dn)
        if mismatch:
            return Outcome(Reason.WRONG_PASSWORD, f"scheme {' '.join(mismatch)}", entry.dn)
        return Outcome(unchecked[0].reason, unchecked[0].detail, entry.dn)

    async def _bind(self, entry: Entry, password: bytes) -> Outcome:
        """Bind as the entry."""
        return verdict.of_bind(await self._directory.bind(entry.dn, password), entry.dn)

    async def _fastbind(self, identity: Identity, password: bytes) -> Outcome:
        """Bind as the DN that the filter makes, or by SASL as the login; no search."""
        if self._sasl_plain:
            realm = identity.realm
            authcid = identity.login if b"@" in identity.login or not realm else identity.login + b"@" + realm
            bound = await self._directory.bind_plain(authcid, password)
            dn = bound.authzid.removeprefix(b"dn:")
        else:
            dn = self._filter.expand(identity, escape_dn)
            bound = await self._directory.bind(dn, password)
        return verdict.of_bind(bound, dn)


def _nobody(found: Found) -> Outcome:
    """Why there is no one entry of the user's own."""
    entries, more, references = found
    if len(entries) == 1 and not more:
        return Outcome(Reason.UNKNOWN_USER, "only an alias, which ldap_deref leaves as it is", entries[0].dn)
    if entries or more:
        beyond = ", more than ldap_size_limit lets through" if more else ""
        return Outcome(Reason.AMBIGUOUS_USER, f"several entries match ldap_filter{beyond}")
    detail = f"no entry, but {references} referrals that are not followed" if references else ""
    return Outcome(Reason.UNKNOWN_USER, detail)
