"""The mechanism ``ldap``: bind, custom and fastbind, and what is looked at after the password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from pysaslauthd import passwords
from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Directory, Entry, Query
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
        if self._group is not None:
            used += self._group.templates
        tokens = sorted({token for template in used for token in template.tokens} - {"D"})
        self._key = Template(("",) * (len(tokens) + 1), tuple(tokens))

    @property
    def queries(self) -> dict[str, Query]:
        """The searches that it will ask for, by the key that their filter comes from: to be checked at start."""
        found = {} if self._method == self._fastbind else {"ldap_filter": self._user}
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
            outcome, entry = await self._method(identity, password)
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

    # -- the methods: what becomes of the password, and the user's entry where it was read

    async def _custom(self, identity: Identity, password: bytes) -> tuple[Outcome, Entry | None]:
        """Compare the password with the entry's own values, of which any may match."""
        found = await self._find(identity)
        if isinstance(found, Outcome):
            return found, None
        stored = found.attributes.get(self._password_attribute)
        if not stored:
            missing = "none stored, or none that the service account may read"
            return Outcome(Reason.NO_PASSWORD, missing, found.dn), found
        return await self._compare(stored, password, found.dn), found

    async def _bind(self, identity: Identity, password: bytes) -> tuple[Outcome, Entry | None]:
        """Find the entry, bind as it."""
        found = await self._find(identity)
        if isinstance(found, Outcome):
            return found, None
        return verdict.of_bind(await self._directory.bind(found.dn, password), found.dn), found

    async def _fastbind(self, identity: Identity, password: bytes) -> tuple[Outcome, Entry | None]:
        """Bind as the DN that the filter makes, or by SASL as the login; no search."""
        if self._sasl_plain:
            realm = identity.realm
            authcid = identity.login if b"@" in identity.login or not realm else identity.login + b"@" + realm
            bound = await self._directory.bind_plain(authcid, password)
            dn = bound.authzid.removeprefix(b"dn:")
        else:
            dn = self._filter.expand(identity, escape_dn)
            bound = await self._directory.bind(dn, password)
        return verdict.of_bind(bound, dn), None

    # -- their parts

    async def _find(self, identity: Identity) -> Entry | Outcome:
        """The user's one entry, or why there is none."""
        asked = self._user
        try:
            entries, more, references = await self._directory.search(asked, identity)
        except DirectoryRefused as refused:
            # 389 DS refuses the search to who may not use the control, though it is not critical.
            if refused.code != codes.INSUFFICIENT_ACCESS_RIGHTS or not asked.controls:
                raise
            entries, more, references = await self._directory.search(self._without_controls, identity)
            self._user = self._without_controls  # the control was to blame, then
        if len(entries) == 1 and not more:
            entry = entries[0]
            if "aliasedobjectname" in entry.attributes:
                return Outcome(Reason.UNKNOWN_USER, "only an alias, which ldap_deref leaves as it is", entry.dn)
            return entry
        if entries or more:
            beyond = ", more than ldap_size_limit lets through" if more else ""
            return Outcome(Reason.AMBIGUOUS_USER, f"several entries match ldap_filter{beyond}")
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
                return Outcome(_OK, "", dn)
            mismatch.append(parsed.scheme)
        for failure in unchecked:  # it might have matched, had it been checked
            if failure.reason.verdict is Verdict.UNAVAILABLE:
                return Outcome(failure.reason, failure.detail, dn)
        if mismatch:
            return Outcome(Reason.WRONG_PASSWORD, f"scheme {' '.join(mismatch)}", dn)
        return Outcome(unchecked[0].reason, unchecked[0].detail, dn)
