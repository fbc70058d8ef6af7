"""The access rights that the page about 389 Directory Server shows, on a real one that grants nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig import Authority, Daemon, Ds389, article
from rig.docs import snippet, snippets
from rig.needs import need
from rig.people import PENGUIN, PENGUIN_DN, PENGUIN_PASSWORD, PEOPLE, SERVICE_DN, SUFFIX

PAGE = "how-to/389-ds.md"
GROUP_DN = f"cn=mail users,ou=Groups,{SUFFIX}"
GROUP = (
    f"dn: ou=Groups,{SUFFIX}\nobjectClass: organizationalUnit\nou: Groups\n\n"
    f"dn: {GROUP_DN}\nobjectClass: groupOfUniqueNames\ncn: mail users\nuniqueMember: {PENGUIN_DN}\n"
)


@pytest.fixture
def bare(authority: Authority) -> Iterator[Ds389]:
    """A server that lets the service account read nothing."""
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority, users=1) as server:
        server.replace(PEOPLE, "aci")
        server.delete(SERVICE_DN)
        server.add(snippet(PAGE, "account"))
        yield server


def test_the_page_shows_what_is_tested_here() -> None:
    assert snippets(PAGE) == {"account", "bind", "custom", "group"}


@pytest.mark.parametrize("method", ["bind", "custom"])
def test_the_rights_are_enough_for_the_method(bare: Ds389, method: str) -> None:
    with Daemon.running(article(bare, method)) as daemon:
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"NO"
        bare.modify(snippet(PAGE, method))
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(PENGUIN, "wrong") == b"NO"


def test_the_rights_for_custom_show_who_is_locked(bare: Ds389) -> None:
    bare.modify(snippet(PAGE, "custom"))
    bare.replace(PENGUIN_DN, "nsAccountLock", "true")
    with Daemon.running(article(bare)) as daemon:
        assert daemon.logged("account state: the service account sees")
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"NO"
        assert daemon.logged("[reason=locked]")


def test_the_rights_for_a_group_are_enough(bare: Ds389) -> None:
    bare.add(GROUP)
    bare.modify(snippet(PAGE, "bind"))
    with Daemon.running(article(bare, "bind", ldap_group_dn=GROUP_DN)) as daemon:
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) != b"OK"
        bare.modify(snippet(PAGE, "group"))
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"NO"
