"""Which parts of a directory accepted logins hang on: what a watch must cover."""

from __future__ import annotations

import re
from typing import NamedTuple

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.names import name_of, within
from pysaslauthd.directory.template import Template

_AFTER_FIRST_COMMA = re.compile(r"(?:[^,\\]|\\.)*,(.*)", re.DOTALL)


class Area(NamedTuple):
    """A subtree, or with ``whole`` off its topmost entry alone."""

    base: str
    whole: bool = True

    def holds(self, name: bytes) -> bool:
        """Whether the entry of this name lies in it."""
        base = name_of(self.base.encode())
        return within(name, base) if self.whole else name == base


def areas_of(settings: LdapSettings) -> tuple[Area, ...]:
    """The areas of users and groups, none within another. Empty: where users are hangs on the login altogether."""
    by_filter = settings.auth_method is AuthMethod.FASTBIND and not settings.use_sasl
    users = _constant(settings.filter if by_filter else settings.search_base)
    if not users.base:
        return ()
    found = [users]
    if settings.checks_group:
        by_search = settings.group_match_method == "filter"
        group = _constant(settings.group_search_base if by_search else settings.group_dn)
        if not group.base:
            return ()
        found.append(group if by_search or Template.parse(settings.group_dn).tokens else group._replace(whole=False))
    kept = [
        each
        for each in found
        if not any(other is not each and other.whole and other.holds(name_of(each.base.encode())) for other in found)
    ]
    return tuple(kept or found[:1])


def _constant(text: str) -> Area:
    """The smallest subtree that holds a DN, whatever the values of its tokens."""
    template = Template.parse(text)
    last = template.literals[-1]
    if not template.tokens:
        return Area(last)
    after = _AFTER_FIRST_COMMA.fullmatch(last)
    return Area(after[1].strip() if after else "")
