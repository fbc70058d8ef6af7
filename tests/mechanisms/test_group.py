from __future__ import annotations

from collections.abc import Sequence

import pytest

from mechanisms.fake import PENGUIN, FakeDirectory, check, entry, found, settings
from pysaslauthd.model import Reason
from pysaslauthd.wire.ldap.request import search_template
from rig import people

STORED = people.PENGUIN_PASSWORD
DN = "cn=Mail Users,ou=Groups,dc=hoge,dc=cxm"
MEMBEROF = {"ldap_group_dn": DN, "ldap_group_match_method": "memberof"}
NESTED = "(&(objectClass=group)(member:1.2.840.113556.1.4.1941:=%D))"


@pytest.mark.parametrize(("member", "reason"), [(True, Reason.OK), (False, Reason.NOT_IN_GROUP)])
def test_attr_compares_with_the_user_s_dn(member: bool, reason: Reason) -> None:
    directory = FakeDirectory(found(entry(userPassword=STORED)), member=member)
    conf = settings(ldap_group_dn="cn=%U users,dc=%2,dc=%1", ldap_group_attr="member")
    outcome = check(directory, conf, login="p,q@hoge.cxm")
    assert (outcome.reason, outcome.dn) == (reason, PENGUIN)
    assert directory.compares == [(rb"cn=p\2cq users,dc=hoge,dc=cxm", "member", PENGUIN)]


@pytest.mark.parametrize(("member", "reason"), [(True, Reason.OK), (False, Reason.NOT_IN_GROUP)])
def test_filter_searches_for_a_group_of_the_user(member: bool, reason: Reason) -> None:
    group = found(entry()) if member else found()
    directory = FakeDirectory(found(entry(userPassword=STORED)), group)
    conf = settings(
        ldap_group_match_method="filter",
        ldap_group_filter="(member=%D)",
        ldap_group_search_base="ou=Groups",
        ldap_group_scope="one",
    )
    assert check(directory, conf).reason is reason
    query, _, dn = directory.searches[1]
    assert (query.scope, query.attributes, query.size_limit, dn) == ("one", ("1.1",), 1, PENGUIN)


@pytest.mark.parametrize("method", ["custom", "bind"])
@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ([DN], Reason.OK),
        (["cn=other,dc=cxm", "CN=mail users, OU=groups,DC=HOGE,DC=cxm"], Reason.OK),
        ([r"cn=mail\20users,ou=groups,dc=hoge,dc=cxm"], Reason.OK),
        (["cn=Mail Users,ou=Other,dc=hoge,dc=cxm"], Reason.NOT_IN_GROUP),
        (["no dn", DN[:-1], f"x{DN}", f"{DN},dc=cxm"], Reason.NOT_IN_GROUP),
    ],
)
def test_memberof_looks_into_the_user_s_own_entry(method: str, held: Sequence[str], reason: Reason) -> None:
    directory = FakeDirectory(found(entry(userPassword=STORED, memberOf=held)))
    assert check(directory, settings(method, **MEMBEROF)).reason is reason
    assert len(directory.searches) == 1
    assert "memberOf" in directory.searches[0][0].attributes
    assert directory.compares == []


def test_memberof_may_be_another_attribute() -> None:
    directory = FakeDirectory(found(entry(userPassword=STORED, nsRole=[DN], memberOf=[])))
    assert check(directory, settings(**MEMBEROF, ldap_group_attr="nsRole")).reason is Reason.OK


def test_no_memberof_at_all_may_be_a_matter_of_rights() -> None:
    outcome = check(FakeDirectory(found(entry(userPassword=STORED))), settings(**MEMBEROF))
    assert outcome.reason is Reason.NOT_IN_GROUP
    assert outcome.detail == "no memberOf, or none that the service account may read"


def test_the_group_is_looked_at_after_the_right_password_of_a_usable_account_alone() -> None:
    directory = FakeDirectory(found(entry(userPassword=STORED, nsAccountLock="true")))
    conf = settings(ldap_group_dn=DN)
    assert check(directory, conf).reason is Reason.LOCKED
    assert check(directory, conf, "wrong").reason is Reason.WRONG_PASSWORD
    assert directory.compares == []


def test_nested_groups_by_the_matching_rule_of_active_directory_can_be_asked_for() -> None:
    conf = settings(ldap_group_match_method="filter", ldap_group_filter=NESTED)
    head, tail = conf.group_filter.split("%D")
    encoded = search_template(["dc=hoge"], [head, tail], scope="sub", attributes=["1.1"]).encode(0x01000000, [PENGUIN])
    # RFC 4511 section 4.5.1.7.7: [9] matchingRule [1], type [2], matchValue [3]
    rule, value = b"1.2.840.113556.1.4.1941", PENGUIN
    inner = b"\x81%c%b\x82\x06member\x83%c%b" % (len(rule), rule, len(value), value)
    assert b"\xa9%c%b" % (len(inner), inner) in encoded
