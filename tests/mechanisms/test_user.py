"""The search for a user, and for anybody."""

from __future__ import annotations

import pytest

from pysaslauthd.mechanisms.user import anybody


@pytest.mark.parametrize(
    ("filter_", "wide"),
    [
        ("(uid=%u)", "(uid=*)"),
        ("(&(objectclass=mailRecipient)(mail=%U@%d))", "(&(objectclass=mailRecipient)(mail=*))"),
        ("(|(mail=%u*)(alias~=%u)(uidNumber>=%U))", "(|(mail=*)(alias=*)(uidNumber=*))"),
        ("(!(cn;lang-ja=%U))", "(!(cn;lang-ja=*))"),
        ("(2.5.4.3=%U)", "(2.5.4.3=*)"),
        ("(cn=100%%)", "(cn=100%%)"),
        ("(&(objectClass=group)(member:1.2.840.113556.1.4.1941:=%D))", "(&(objectClass=group)(member=*))"),
        ("(cn:caseExactMatch:=%U)", "(cn=*)"),
        ("(cn:=%U)", "(cn=*)"),
        ("(:dn:2.5.13.5:=%U)", "(:dn:2.5.13.5:=%U)"),
        ("(%s=x)", "(%s=x)"),
    ],
)
def test_a_value_that_hangs_on_the_login_becomes_a_presence_test(filter_: str, wide: str) -> None:
    assert anybody(filter_) == wide
