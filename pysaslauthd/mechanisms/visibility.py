"""Whether the service account can see what custom mode decides on besides the password.

An attribute that may not be read is simply absent, so that a locked account looks like any other. 389 DS tells the
difference when it is asked for one's effective rights; OpenLDAP answers for its own policy by the account usability
control. Both are asked about any one of the users.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Directory, Entry, Query
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryError, DirectoryRefused
from pysaslauthd.mechanisms.user import NOBODY, anybody, user_query
from pysaslauthd.wire.ldap import codes
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY, EFFECTIVE_RIGHTS
from pysaslauthd.wire.ldap.request import Control

_RIGHTS = "attributelevelrights"
_LOCK, _EXPIRY = "nsaccountlock", "passwordexpirationtime"
_READABLE = "nsAccountLock || passwordExpirationTime || shadowExpire"


class Sight(NamedTuple):
    """What the service account sees of the accounts' state.

    ``seen``: whether it sees all; None where the directory does not tell. ``text``: one line for people, with the
    ACIs that mend it.
    """

    seen: bool | None
    text: str


def looked_for(settings: LdapSettings) -> bool:
    """Whether anything hangs on what the service account sees."""
    return settings.auth_method is AuthMethod.CUSTOM and settings.account_state and not settings.embedded


async def look(settings: LdapSettings, directory: Directory) -> Sight:
    """Ask the directory, as the service account, by two or three searches. A flow; never raises a DirectoryError."""
    base = Template.parse(settings.search_base)
    if base.tokens:
        return _untold("ldap_search_base has tokens, so no user can be found without a login")
    query = replace(
        user_query(settings), base=base, filter=Template.parse(anybody(settings.filter)), size_limit=1, controls=()
    )
    try:
        entry, told = await _by_usability(directory, query)
        rights = await _rights(directory, query, settings)
    except DirectoryError as error:
        return _untold(str(error))
    if entry is None and rights is None:
        return _untold("the service account finds no user")
    if rights is not None:
        return _of_rights(rights, told, settings)
    if told:
        return Sight(True, "the directory itself tells the service account whether an account may be used")
    return _untold("the directory neither tells rights nor applies its policy for others; test with a locked account")


def _untold(why: str) -> Sight:
    return Sight(None, f"whether the service account sees locked accounts cannot be told: {why}")


async def _by_usability(directory: Directory, query: Query) -> tuple[Entry | None, bool]:
    """A user, and whether the directory says of it if it may be used."""
    try:
        found = await directory.search(replace(query, controls=(Control(ACCOUNT_USABILITY),)), NOBODY)
    except DirectoryRefused as refused:
        if refused.code != codes.INSUFFICIENT_ACCESS_RIGHTS:
            raise
        return None, False
    entry = found.entries[0] if found.entries else None
    return entry, entry is not None and ACCOUNT_USABILITY in entry.controls


async def _rights(directory: Directory, query: Query, settings: LdapSettings) -> dict[str, str] | None:
    """The service account's rights (``rsc``, ``none``) by lower-case attribute; None where they are not told."""
    if settings.use_sasl:  # its DN is not known
        return None
    control = Control(EFFECTIVE_RIGHTS, value=b"dn:" + settings.bind_dn.encode())
    found = await directory.search(replace(query, controls=(control,)), NOBODY)
    if not found.entries or _RIGHTS not in found.entries[0].attributes:
        return None
    listed = b",".join(found.entries[0].attributes[_RIGHTS]).decode(errors="replace").lower().split(",")
    return {name.strip(): rights.strip() for name, _, rights in (each.partition(":") for each in listed)}


def _of_rights(rights: dict[str, str], told: bool, settings: LdapSettings) -> Sight:
    """What 389 DS's answers mean."""
    unseen = []
    if "r" not in rights.get(_LOCK, ""):
        unseen.append("nsAccountLock (locked accounts are let in)")
    if not told:
        unseen.append("the password policy's verdict (too many tries, expired, must change)")
    elif "r" not in rights.get(_EXPIRY, ""):
        unseen.append("passwordExpirationTime (all who have one count as expired)")
    if not unseen:
        return Sight(True, "the service account sees locks, expiry and must-change")
    who = f"ldap:///{settings.bind_dn}" if settings.bind_dn else "ldap:///anyone"
    allow = f'(version 3.0; acl "saslauthd account state"; allow (read,search) userdn="{who}";)'
    mending = [f'to {settings.search_base} add aci: (targetattr="{_READABLE}"){allow}']
    if not told:
        mending.append(f'to oid={ACCOUNT_USABILITY},cn=features,cn=config add aci: (targetattr="*"){allow}')
    return Sight(False, f"the service account may not see {' nor '.join(unseen)}; {'; '.join(mending)}")
