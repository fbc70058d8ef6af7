from __future__ import annotations

from typing import Any

import pytest

from pysaslauthd.config import AuthMethod, LdapSettings
from pysaslauthd.directory.areas import Area, areas_of
from pysaslauthd.directory.names import name_of

PEOPLE = "ou=People,dc=hoge,dc=cxm"
GROUPS = "ou=Groups,dc=hoge,dc=cxm"
GROUP = f"cn=mail,{GROUPS}"
FASTBIND = {"auth_method": AuthMethod.FASTBIND, "filter": f"uid=%u,{PEOPLE}"}
BY_FILTER = {"group_match_method": "filter", "group_filter": "(member=%D)"}


@pytest.mark.parametrize(
    ("keys", "areas"),
    [
        ({"search_base": PEOPLE}, [Area(PEOPLE)]),
        ({"search_base": f"ou=%d,{PEOPLE}"}, [Area(PEOPLE)]),
        ({"search_base": f"ou=%d x\\,y,{PEOPLE}"}, [Area(PEOPLE)]),
        ({"search_base": f"ou=%d, {PEOPLE}"}, [Area(PEOPLE)]),
        ({"search_base": "ou=%d,%R"}, []),
        ({"search_base": "%d"}, []),
        ({}, []),
        (FASTBIND, [Area(PEOPLE)]),
        ({**FASTBIND, "use_sasl": True, "search_base": PEOPLE}, [Area(PEOPLE)]),
        ({"search_base": PEOPLE, "group_dn": GROUP}, [Area(PEOPLE), Area(GROUPS)]),
        ({"search_base": PEOPLE, "group_dn": "cn=%s,ou=Groups,dc=x"}, [Area(PEOPLE), Area("ou=Groups,dc=x")]),
        ({"search_base": PEOPLE, "group_dn": "cn=mail,ou=%s,dc=x"}, [Area(PEOPLE), Area("dc=x")]),
        ({"search_base": PEOPLE, "group_dn": "cn=mail,dc=hoge,dc=cxm"}, [Area("dc=hoge,dc=cxm")]),
        ({"search_base": PEOPLE, "group_dn": "cn=mail"}, []),
        ({"search_base": PEOPLE, "group_dn": f"cn=mail,{PEOPLE}"}, [Area(PEOPLE)]),
        ({"search_base": PEOPLE, "group_dn": "%s"}, []),
        ({"search_base": PEOPLE, "group_search_base": "dc=hoge,dc=cxm", **BY_FILTER}, [Area("dc=hoge,dc=cxm")]),
        ({"search_base": PEOPLE, "group_search_base": "OU=people, dc=hoge,dc=cxm", **BY_FILTER}, [Area(PEOPLE)]),
    ],
)
def test_a_watch_must_cover_all_that_a_login_can_hang_on(keys: dict[str, Any], areas: list[Area]) -> None:
    assert [*areas_of(LdapSettings(**keys))] == areas


def test_an_area_is_a_subtree() -> None:
    assert Area(PEOPLE).holds(name_of(f"uid=penguin,{PEOPLE}".encode()))
    assert Area(PEOPLE).holds(name_of(PEOPLE.encode()))
    assert not Area(PEOPLE).holds(name_of(GROUP.encode()))
