"""The search for a user's entry, one round trip that brings all that is decided on; and for anybody's."""

from __future__ import annotations

import re

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.interface import Query
from pysaslauthd.directory.template import Template
from pysaslauthd.mechanisms import state
from pysaslauthd.mechanisms.sources import ENTRY_UUID
from pysaslauthd.model import Identity
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY
from pysaslauthd.wire.ldap.request import Control

ALIAS = "aliasedObjectName"
"""RFC 4512 section 2.6: what tells an alias from the object that it stands for."""

NOBODY = Identity(b"", b"", b"", b"", b"", b"")
"""Who is meant where no login is known."""

# RFC 4515 section 3: an attribute by name or OID, a kind of match, a value.
_ASSERTION = re.compile(r"\(([A-Za-z0-9][\w.;-]*)(?:[~<>]|:[\w.:-]*)?=([^()]*)\)")


def user_query(settings: LdapSettings) -> Query:
    """The search for the user's one entry, as the configuration wants it."""
    custom = settings.auth_method is AuthMethod.CUSTOM
    attributes = [ALIAS]
    if custom:
        attributes.append(settings.password_attr)
    if settings.account_state:
        attributes += state.ATTRIBUTES if custom or settings.embedded else state.SHADOW
    if settings.group_match_method == "memberof" and settings.group_dn:
        attributes.append(settings.group_attr)
    if settings.watch:
        attributes.append(ENTRY_UUID)
    return Query(
        Template.parse(settings.search_base),
        Template.parse(settings.filter),
        settings.scope,
        tuple(attributes),
        size_limit=settings.size_limit,
        time_limit=settings.time_limit,
        deref=settings.deref,
        controls=(Control(ACCOUNT_USABILITY),) if custom and settings.account_state and settings.version == 3 else (),
    )


def anybody(filter_: str) -> str:
    """A filter's text that finds whoever could be meant: every value that hangs on the login is made a presence test.

    Tokens in other places are left.
    """
    return _ASSERTION.sub(lambda match: f"({match[1]}=*)" if Template.parse(match[2]).tokens else match[0], filter_)
