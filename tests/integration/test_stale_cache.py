"""Cached logins while the real directory is gone, hung, and back with another password."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rig import Authority, Daemon, Slapd, article, people
from rig.needs import need
from rig.programs import wait_until

RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD
STALE = "auth success (cached): [user=penguin@hoge.cxm] [service=smtp] [realm=] [mech=ldap] [detail=stale, "


@pytest.mark.parametrize(("lose", "find"), [(Slapd.stop, Slapd.start), (Slapd.pause, Slapd.resume)])
def test_a_login_past_its_lifetime_lasts_while_the_directory_is_away_and_no_longer(
    authority: Authority, lose: Callable[[Slapd], None], find: Callable[[Slapd], None]
) -> None:
    need("slapd", "slapadd", "ldapmodify")
    keys = {"cache_stale": "600", "login_deadline": "2", "ldap_timeout": "1", "ldap_connect_timeout": "1"}
    with Slapd(authority) as slapd, Daemon.running(article(slapd, "custom", **keys), "-c", "-t", "1", "-V") as daemon:
        assert daemon.ask(*RIGHT) == b"OK"
        lose(slapd)
        wait_until(lambda: daemon.ask(*RIGHT) == b"OK" and STALE in daemon.log, "a login past its lifetime")
        assert daemon.log.count("no directory answers: cached logins are accepted past their lifetime") == 1
        began = time.monotonic()
        assert daemon.ask(people.PENGUIN, "wrong") is None
        assert daemon.ask("somebody@hoge.cxm", people.PENGUIN_PASSWORD) is None
        assert time.monotonic() - began < 15

        find(slapd)
        slapd.replace(people.PENGUIN_DN, "userPassword", people.ssha("another"))
        wait_until(lambda: daemon.ask(*RIGHT) == b"NO", "the directory's word on the old password")
        assert daemon.logged("the directory answers again")
        lose(slapd)
        assert daemon.ask(*RIGHT) is None
        find(slapd)
