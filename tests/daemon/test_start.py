"""What the start refuses because the directory could never be asked, with the whole daemon as a process."""

from __future__ import annotations

import pytest

from rig import Daemon, people
from rig.programs import StartFailed

SERVER = {"ldap_servers": "ldap://127.0.0.1:1", "ldap_search_base": people.PEOPLE}
FILE = {**SERVER, "ldap_servers": "ldif://{folder}/people.ldif"}


@pytest.mark.parametrize(
    ("conf", "key", "text"),
    [
        ({**SERVER, "ldap_filter": "(&(objectclass=mailRecipient)mail=%u)"}, "ldap_filter", "filter"),
        ({**SERVER, "ldap_auth_method": "custom", "ldap_filter": "(%u=)(x=1)"}, "ldap_filter", "filter"),
        ({**FILE, "ldap_filter": "(mail>=%u)"}, "ldap_filter", ">="),
        (
            {**SERVER, "ldap_group_match_method": "filter", "ldap_group_filter": "(&(member=%D)x)"},
            "ldap_group_filter",
            "filter",
        ),
    ],
)
def test_a_filter_that_cannot_be_asked_ends_the_start(conf: dict[str, str], key: str, text: str) -> None:
    files = {"people.ldif": people.tree(1)}
    refused = pytest.raises(StartFailed, match=rf"ended with status 2\n(?s:.*){key}: .*{text}")
    with refused, Daemon.running(conf, files=files):
        pass


def test_fastbind_has_a_dn_and_no_filter() -> None:
    conf = {**SERVER, "ldap_auth_method": "fastbind", "ldap_filter": f"uid=%u,{people.PEOPLE}"}
    with Daemon.running(conf) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None
