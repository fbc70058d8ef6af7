"""The documented configuration for Active Directory, on a fake server that answers as Active Directory does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from pysaslauthd import config
from pysaslauthd.directory.servers import Servers
from pysaslauthd.flow import future
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.model import AuthRequest, Outcome, Reason, Verdict, identify
from rig import faults
from rig.docs import snippet
from rig.fake_ldap import FakeLdap
from rig.ldap_table import Entries

PAGE = "how-to/active-directory.md"
DN = "CN=Penguin,OU=Staff,DC=hoge,DC=cxm"
GROUP = "CN=Mail Users,OU=Groups,DC=hoge,DC=cxm"
FOREST: Entries = {
    "dc=hoge,dc=cxm": {"objectCategory": [b"domain"]},
    "userretriever@hoge.cxm": {"userPassword": [b"password"]},  # Active Directory takes this for a DN
    DN: {
        "objectCategory": [b"person"],
        "sAMAccountName": [b"penguin"],
        "userPrincipalName": [b"penguin@hoge.cxm"],
        "memberOf": [GROUP.encode()],
        "userPassword": [b"right"],
    },
    GROUP: {"objectCategory": [b"group"], "member": [DN.encode()]},
}
PARTITIONS = [f"ldap://{part}.hoge.cxm/DC={part},DC=hoge,DC=cxm" for part in ("ForestDnsZones", "DomainDnsZones")]


def login(server: FakeLdap, user: str, password: str = "right", realm: str = "", more: str = "") -> Outcome:
    """One login with the documented configuration; only the servers are other ones."""
    lines = snippet(PAGE, "saslauthd.conf").splitlines(keepends=True)
    assert [line.split(":")[0] for line in lines[:2]] == ["ldap_servers", "ldap_tls_cacert_file"]
    text = f"ldap_servers: {server.uri}\n{''.join(lines[2:])}{more}"
    settings = config.parse(text.encode(), "saslauthd.conf").settings

    async def once() -> Outcome:
        directory = Servers(settings, deadline=3)
        try:
            with ThreadPoolExecutor(1) as threads:
                mechanism = LdapMechanism(settings, directory, threads)
                identity = identify(AuthRequest(user.encode(), b"", b"smtp", realm.encode()))
                return await future(mechanism.check(identity, password.encode()))
        finally:
            await directory.stop()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("user", "realm"), [("penguin", ""), ("penguin", "hoge.cxm"), ("penguin@hoge.cxm", ""), ("PENGUIN", "hoge.cxm")]
)
def test_a_user_logs_in_by_either_name_and_referrals_are_left_alone(user: str, realm: str) -> None:
    with FakeLdap(FOREST) as server:
        server.table.references = PARTITIONS
        outcome = login(server, user, realm=realm)
        assert (outcome.reason, outcome.dn) == (Reason.OK, DN.encode())
        assert server.accepted == 2  # one to search, one to bind


def test_who_is_unknown_is_so_for_all_the_referrals() -> None:
    with FakeLdap(FOREST) as server:
        server.table.references = PARTITIONS
        outcome = login(server, "penguin@elsewhere.cxm")
        assert outcome.reason is Reason.UNKNOWN_USER
        assert outcome.detail == "no entry, but 2 referrals that are not followed"


@pytest.mark.parametrize(
    ("data", "reason", "verdict"),
    [
        ("52e", Reason.WRONG_PASSWORD, Verdict.REJECTED),
        ("533", Reason.LOCKED, Verdict.REJECTED),
        ("532", Reason.EXPIRED, Verdict.REJECTED),
        ("701", Reason.EXPIRED, Verdict.REJECTED),
        ("773", Reason.MUST_CHANGE, Verdict.REJECTED),
        ("775", Reason.TOO_MANY_TRIES, Verdict.REJECTED),
        ("51f", Reason.DIRECTORY_REFUSED, Verdict.UNAVAILABLE),
    ],
)
def test_the_sub_code_of_a_refused_bind_becomes_the_reason(data: str, reason: Reason, verdict: Verdict) -> None:
    text = f"80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {data}, v3839\0"
    with FakeLdap(FOREST) as server:
        server.fault("bind", faults.honest, faults.result(49, text))
        outcome = login(server, "penguin")
        assert (outcome.reason, outcome.verdict) == (reason, verdict)
        assert f"data {data}" in outcome.detail


def test_nested_groups_are_asked_for_by_the_matching_rule() -> None:
    more = snippet(PAGE, "nested group")
    with FakeLdap(FOREST) as server:
        assert login(server, "penguin", more=more).reason is Reason.OK
        asked = server.wait_for("search", 2)[1].body
        assert asked["filter"] == (
            "extensibleMatch",
            {"matchingRule": b"1.2.840.113556.1.4.1941", "type": b"member", "matchValue": DN.encode()},
        )
        assert (asked["baseObject"].lower(), asked["scope"]) == (GROUP.lower().encode(), 0)
        server.table.entries[GROUP]["member"] = []
        assert login(server, "penguin", more=more).reason is Reason.NOT_IN_GROUP


def test_direct_groups_come_with_the_user_s_entry() -> None:
    more = snippet(PAGE, "direct group")
    with FakeLdap(FOREST) as server:
        assert login(server, "penguin", more=more).reason is Reason.OK
        assert len(server.wait_for("search")) == 1
        server.table.entries[DN]["memberOf"] = []
        assert login(server, "penguin", more=more).reason is Reason.NOT_IN_GROUP
