"""Which parts of a directory accepted logins hang on: what a watch must cover."""

from __future__ import annotations

import re
from typing import NamedTuple

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.names import name_of, within
from pysaslauthd.directory.template import Template

_AFTER_FIRST_COMMA = re.compile(r"(?:[^,\\]|\\.)*,(.*)", re.DOTALL)


class Area(NamedTuple):
    """A subtree."""

    base: str

    def holds(self, name: bytes) -> bool:
        """Whether the entry of this name lies in it."""
        return within(name, name_of(self.base.encode()))


def areas_of(settings: LdapSettings) -> tuple[Area, ...]:
    """The areas of users and groups, none within another. Empty: where users are hangs on the login altogether."""
    by_filter = settings.auth_method is AuthMethod.FASTBIND and not settings.use_sasl
    users = _constant(settings.filter if by_filter else settings.search_base)
    if not users.base:
        return ()
    found = [users]
    if settings.checks_group:
        by_search = settings.group_match_method == "filter"
        # With its parent's subtree, as OpenLDAP's syncprov loses sight of a base that is renamed and comes back.
        group = _constant(settings.group_search_base) if by_search else _constant(f"%D,{_parent(settings.group_dn)}")
        if not group.base:
            return ()
        if users.holds(name_of(group.base.encode())):
            return (users,)
        if group.holds(name_of(users.base.encode())):
            return (group,)
        found.append(group)
    return tuple(found)


def _parent(dn: str) -> str:
    after = _AFTER_FIRST_COMMA.fullmatch(dn)
    return after[1].strip() if after else ""


def _constant(text: str) -> Area:
    """The smallest subtree that holds a DN, whatever the values of its tokens."""
    template = Template.parse(text)
    last = template.literals[-1]
    if not template.tokens:
        return Area(last)
    return Area(_parent(last))
