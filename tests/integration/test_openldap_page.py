"""The access rules that the page about OpenLDAP shows, on a real slapd that grants nothing else."""

from __future__ import annotations

import pytest

from integration.test_389_ds_page import GROUP, GROUP_DN
from rig import Authority, Daemon, Slapd, article
from rig.directory import write
from rig.docs import snippet, snippets
from rig.needs import need
from rig.people import PENGUIN, PENGUIN_DN, PENGUIN_PASSWORD, SERVICE_DN, SUFFIX
from rig.programs import Program, find, run

PAGE = "how-to/openldap.md"
_NOTHING = [f'access to dn.exact="{SERVICE_DN}" attrs=userPassword by anonymous auth', "access to * by * none"]
_POLICY_DN = f"cn=policy,{SUFFIX}"
_POLICY = (
    f"dn: {_POLICY_DN}\nobjectClass: organizationalRole\nobjectClass: pwdPolicy\npwdAttribute: userPassword\n"
    "pwdLockout: TRUE\n"
)


class BareSlapd(Slapd):
    """slapd with its configuration in cn=config, where the service account may bind, and nobody may do anything else.

    :param rules: names of the page's snippets to apply, in this order.
    """

    def __init__(self, authority: Authority, *rules: str) -> None:
        super().__init__(authority, users=1, extra=f'overlay ppolicy\nppolicy_default "{_POLICY_DN}"')
        self._rules = rules

    def _prepare(self, tree: str) -> Program:
        super()._prepare(f"{tree}{GROUP}\n{_POLICY}")
        conf, config = self.folder / "slapd.conf", self.folder / "slapd.d"
        lines = [line for line in conf.read_text().splitlines() if not line.startswith("access ")]
        # In cn=config, only what is included can build on what was included before.
        place = next(number for number, line in enumerate(lines) if line.startswith("objectclass "))
        lines[place] = f"include {write(self.folder / 'mail.schema', lines[place])}"
        place = lines.index("overlay syncprov")
        write(conf, "\n".join([*lines[:place], *_NOTHING, *lines[place:], ""]))
        config.mkdir()
        run([find("slaptest"), "-f", conf, "-F", config])
        for name in self._rules:
            rules = write(self.folder / "access.ldif", snippet(PAGE, name))
            run([find("slapmodify"), "-F", config, "-b", "cn=config", "-l", rules])
        return Program(
            [find("slapd"), "-d", "0", "-F", config, "-h", f"{self.uri}/ {self.ldaps_uri}/ {self.ldapi_uri}"],
            log=self.folder / "log",
            ready=self._serves,
        )


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("slapd", "slapadd", "slaptest", "slapmodify", "ldapmodify", "ldapsearch")


def test_the_page_shows_what_is_tested_here_and_with_the_clients() -> None:
    assert snippets(PAGE) == {"bind", "custom", "group", "slapd.conf", "person"}


@pytest.mark.parametrize("method", ["bind", "custom"])
def test_the_rules_are_enough_for_the_method_and_nothing_less_is(authority: Authority, method: str) -> None:
    with BareSlapd(authority) as server, Daemon.running(article(server, method)) as daemon:
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) != b"OK"
    with BareSlapd(authority, method) as server, Daemon.running(article(server, method)) as daemon:
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(PENGUIN, "wrong") == b"NO"


def test_the_rules_for_bind_show_no_password(authority: Authority) -> None:
    with BareSlapd(authority, "bind") as server, Daemon.running(article(server, "custom")) as daemon:
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"NO"
        assert daemon.logged("[reason=no-password]")


def test_with_the_rules_for_custom_a_locked_account_is_refused(authority: Authority) -> None:
    with BareSlapd(authority, "custom") as server, Daemon.running(article(server, "custom"), "-V") as daemon:
        assert daemon.logged("account state: the directory itself tells the service account")
        server.replace(PENGUIN_DN, "pwdAccountLockedTime", "000001010000Z")
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"NO"
        assert daemon.logged("[reason=locked]")


def test_the_rule_for_a_group_is_enough(authority: Authority) -> None:
    with (
        BareSlapd(authority, "bind", "group") as server,
        Daemon.running(article(server, "bind", ldap_group_dn=GROUP_DN)) as daemon,
    ):
        assert daemon.ask(PENGUIN, PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"NO"
