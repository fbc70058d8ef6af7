"""The same tree in slapd and in an LDIF file: the same filters find the same entries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pysaslauthd import flow
from pysaslauthd.directory.interface import Query
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.template import Template
from pysaslauthd.model import AuthRequest, identify
from rig import Authority, Slapd, people
from rig.needs import need

ODD = (
    people.person("odd", more="description: a*(b)\\c\ndescription: two   words\n").replace("cn: odd", "cn: Odd")
    + people.person("umlaut", more="cn:: SsOcUkdFTg==\ncn;lang-ja:: 44Oa44Oz44Ku44Oz\n")
    + f"dn: cn=a\\2Cb,{people.PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: mailRecipient\ncn: a,b\nsn: x\n"
    + f"mail: comma@hoge.cxm\nmail: Second@HOGE.cxm\nseeAlso: {people.PENGUIN_DN}\n\n"
    + f"dn: cn=staff,{people.SUFFIX}\nobjectClass: groupOfNames\ncn: staff\nmember: {people.PENGUIN_DN}\n"
    + f"member: cn=a\\,b,{people.PEOPLE}\n"
)
IDENTITY = identify(AuthRequest(people.PENGUIN.encode(), b""))


@pytest.fixture(scope="module")
def both(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slapd, LdifDirectory]]:
    need("slapd", "slapadd", "ldapmodify", "ldapsearch")
    with Slapd(authority, users=3) as slapd:
        slapd.add(ODD)
        file: Path = tmp_path_factory.mktemp("ldif") / "tree.ldif"
        file.touch(0o600)
        file.write_text(slapd.search("(objectclass=*)"))
        with ThreadPoolExecutor(1) as threads:
            yield slapd, LdifDirectory(str(file), threads)


def dns(ldif: str) -> set[str]:
    return {line.removeprefix("dn: ") for line in ldif.splitlines() if line.startswith("dn:")}


@pytest.mark.parametrize(
    "text",
    [
        "(mail=penguin@hoge.cxm)",
        "(mail=PENGUIN@HOGE.CXM)",
        "(mail=second@hoge.cxm)",
        "(&(objectclass=mailRecipient)(mail=u1@hoge.cxm))",
        "(&(objectClass=groupOfNames)(mail=u1@hoge.cxm))",
        "(|(uid=u0)(uid=u2)(uid=nobody))",
        "(!(objectclass=mailRecipient))",
        "(!(mail=u1@hoge.cxm))",
        "(&(objectclass=mailRecipient)(!(description=*)))",
        "(&(uid=*)(!(description=two words)))",
        "(description=TWO words)",
        "(description= two  words )",
        r"(description=a\2a\28b\29\5cc)",
        r"(description=*\2a*)",
        "(description=two*words)",
        "(description=two *)",
        "(description=tw *)",
        "(description=*o w*)",
        "(mail=u*@hoge.cxm)",
        "(mail=*@hoge.cxm*@hoge.cxm)",
        "(uid=*u*u*)",
        "(cn=jürgen)",
        "(cn=J*RGEN)",
        "(cn=ペンギン)",
        "(cn;lang-ja=*)",
        "(cn;lang-ja=jürgen)",
        "(cn;lang-de=*)",
        "(cn=a,b)",
        "(seeAlso=uid=penguin,ou=People,dc=hoge,dc=cxm)",
        "(seeAlso=UID = penguin, OU=people,DC=hoge,DC=cxm)",
        r"(member=cn=a\5c2cb,ou=People,dc=hoge,dc=cxm)",
        "(member=uid=u0,ou=People,dc=hoge,dc=cxm)",
        "(userPassword=penguin-pass)",
    ],
)
@pytest.mark.parametrize("base", [people.SUFFIX, "OU=people, dc=HOGE,dc=cxm", people.PENGUIN_DN])
def test_a_filter_finds_the_same_entries(both: tuple[Slapd, LdifDirectory], text: str, base: str) -> None:
    slapd, directory = both
    query = Query(Template.parse(base), Template.parse(text), "sub", ("1.1",))

    async def search() -> set[str]:
        return {entry.dn.decode() for entry in (await flow.future(directory.search(query, IDENTITY))).entries}

    assert asyncio.run(search()) == dns(slapd.search(text, "1.1", base=base))


def test_the_slapd_holds_the_odd_ones_too(both: tuple[Slapd, LdifDirectory]) -> None:
    slapd, _ = both
    everybody = dns(slapd.search("(objectclass=*)", "1.1"))
    assert len(everybody) == 11
    assert f"cn=a\\2Cb,{people.PEOPLE}" in everybody
