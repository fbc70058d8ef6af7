"""Every hash scheme of a real 389 Directory Server: custom lets in whom a bind lets in, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from integration.four_ways import FourWays, Said
from integration.tables import compare
from rig import Authority, Ds389, people
from rig.needs import need

PASSWORD = people.PENGUIN_PASSWORD
SCHEMES = [
    "CLEAR",
    "CRYPT",
    "CRYPT-MD5",
    "CRYPT-SHA256",
    "CRYPT-SHA512",
    "MD5",
    "SMD5",
    "SHA",
    "SSHA",
    "SHA256",
    "SSHA256",
    "SHA384",
    "SSHA384",
    "SHA512",
    "SSHA512",
    "PBKDF2",
    "PBKDF2-SHA1",
    "PBKDF2-SHA256",
    "PBKDF2-SHA512",
    "PBKDF2_SHA256",
    "GOST_YESCRYPT",
]
# Not for users' passwords, or not for new ones.
OTHERS = {"AES", "NS-MTA-MD5"}


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Ds389]:
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority, users=0) as started:
        yield started


@pytest.fixture(scope="module")
def measured(server: Ds389) -> dict[str, dict[str, Said]]:
    """What the four say of the right password, a wrong one, and the stored text, by scheme."""
    told: dict[str, dict[str, Said]] = {}
    with FourWays.running(server) as four:
        for scheme in SCHEMES:
            uid = scheme.lower()
            server.add(people.person(uid, []))
            stored = server.set_password(people.dn(uid), PASSWORD, scheme)
            assert (stored == PASSWORD) == (scheme == "CLEAR")
            tried = {"right": PASSWORD, "wrong": "wrong"} | ({} if scheme == "CLEAR" else {"stored": stored})
            told[scheme] = {what: four.ask(uid, password) for what, password in tried.items()}
    return told


def test_no_scheme_of_the_server_is_left_out(server: Ds389) -> None:
    shown = server.search("(objectClass=nsSlapdPlugin)", "cn", base="cn=Password Storage Schemes,cn=plugins,cn=config")
    assert {name.upper() for name in re.findall("^cn: (.*)$", shown, re.MULTILINE)} == {*SCHEMES, *OTHERS}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_custom_is_bind_is_right(measured: dict[str, dict[str, Said]], scheme: str) -> None:
    told = measured[scheme]
    assert told["right"].accepted[1:] == (True, True, True)
    assert told["wrong"] == (False, False, "wrong-password", "wrong-password")
    if "stored" in told:
        assert told["stored"].accepted[1:] == (False, False, False)


def test_the_table_is_what_was_measured(measured: dict[str, dict[str, Said]]) -> None:
    words = {"right": "the right password", "stored": "**the stored text**"}
    rows = []
    for scheme in SCHEMES:
        let_in = [
            [words[what] for what, said in measured[scheme].items() if said.accepted[column]] for column in range(4)
        ]
        rows.append([f"`{scheme}`", *(" and ".join(each) or "nothing" for each in let_in)])
    head = ["passwordStorageScheme", "saslauthd, custom", "saslauthd, bind", "custom", "bind"]
    compare("reference/account-state.md", "hash schemes", head, rows)
