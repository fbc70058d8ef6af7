"""Every state of an account that 389 Directory Server and OpenLDAP know: custom and bind are of one mind about it.

Where they are not, ``WHY`` names the reason: what a service account cannot see, or must not do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from integration.four_ways import FourWays, Said
from integration.tables import compare
from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article, people
from rig.dovecot import ask
from rig.needs import need
from rig.programs import find, run, wait_until

PAST, TO_COME = "20200101000000Z", "20990101000000Z"
PASSWORD = "right-pass"
EVERY_COLUMN = "saslauthd, custom", "saslauthd, bind", "custom", "bind"


class State(NamedTuple):
    """A state: what an entry begins with, what the server then does to it, under which switches of cn=config."""

    begin: str = ""
    then: Callable[[Any, str], None] | None = None
    switches: Mapping[str, str] = {}


def replaced(attribute: str, value: str) -> Callable[[DirectoryServer, str], None]:
    return lambda server, uid: server.replace(people.dn(uid), attribute, value)


def tried(server: DirectoryServer, uid: str) -> None:
    """Bind with wrong passwords until the server has had enough."""
    for _ in range(4):
        who = ["-x", "-H", server.uri, "-D", people.dn(uid), "-w", "wrong"]
        with pytest.raises(AssertionError, match="ended with status"):
            run([find("ldapwhoami"), *who])


def reset(server: DirectoryServer, uid: str) -> None:
    server.replace(people.dn(uid), "userPassword", people.ssha(PASSWORD))


def grown_old(server: Slapd, uid: str) -> None:
    """Set pwdChangedTime, which the relax control (draft-zeilenga-ldap-relax) lets an administrator do."""
    change = f"dn: {people.dn(uid)}\nchangetype: modify\nreplace: pwdChangedTime\npwdChangedTime: {PAST}\n"
    who = ["-x", "-H", server.uri, "-D", server.admin_dn, "-w", server.admin_password]
    run([find("ldapmodify"), "-e", "!relax", *who], stdin=change)


LOCKOUT = {"passwordLockout": "on", "passwordMaxFailure": "3", "passwordLockoutDuration": "3600"}
EXPIRY, MUST_CHANGE = {"passwordExp": "on"}, {"passwordMustChange": "on"}
ROLE, COS = f"cn=left,{people.SUFFIX}", f"cn=inactivity,{people.SUFFIX}"
SHADOW = "objectClass: shadowAccount\n"

STATES_389 = {
    "nothing against it": State(),
    "nsAccountLock: true": State("nsAccountLock: true\n"),
    "nsAccountLock: false": State("nsAccountLock: false\n"),
    "locked by a role": State(f"nsRoleDN: {ROLE}\n"),
    "locked by class of service": State("employeeType: left\n"),
    "too many tries": State(then=tried, switches=LOCKOUT),
    "too many tries, for ever": State(then=tried, switches={**LOCKOUT, "passwordUnlock": "off"}),
    "too many tries, the time is over": State(f"passwordRetryCount: 3\naccountUnlockTime: {PAST}\n", switches=LOCKOUT),
    "too many tries, now allowed": State(f"passwordRetryCount: 3\naccountUnlockTime: {TO_COME}\n"),
    "expired": State(then=replaced("passwordExpirationTime", PAST), switches=EXPIRY),
    "will expire": State(then=replaced("passwordExpirationTime", TO_COME), switches=EXPIRY),
    "expired, expiry switched off": State(then=replaced("passwordExpirationTime", PAST)),
    "expired, with grace logins": State(
        then=replaced("passwordExpirationTime", PAST), switches={**EXPIRY, "passwordGraceLimit": "9"}
    ),
    "must change": State(then=reset, switches=MUST_CHANGE),
    "had to change, no longer": State("pwdReset: TRUE\npasswordExpirationTime: 19700101000000Z\n"),
    "inactive for too long": State(f"acctPolicySubentry: {COS}\nlastLoginTime: {PAST}\n"),
    "shadowExpire is over": State(f"{SHADOW}shadowExpire: 18000\n"),
    "shadowExpire is to come": State(f"{SHADOW}shadowExpire: 99999\n"),
}
POLICY, LAX, GRACE = (f"cn={name},{people.SUFFIX}" for name in ("policy", "lax", "grace"))
STATES_OPENLDAP = {
    "nothing against it": State(),
    "pwdAccountLockedTime: 000001010000Z": State(then=replaced("pwdAccountLockedTime", "000001010000Z")),
    "the same, the policy does not lock": State(
        f"pwdPolicySubentry: {LAX}\n", then=replaced("pwdAccountLockedTime", "000001010000Z")
    ),
    "too many tries": State(then=tried),
    "too many tries, the time is over": State(then=replaced("pwdAccountLockedTime", PAST)),
    "expired": State(then=grown_old),
    "expired, with grace logins": State(f"pwdPolicySubentry: {GRACE}\n", then=grown_old),
    "pwdReset: TRUE": State(then=replaced("pwdReset", "TRUE")),
    "the same, the policy does not ask for it": State(f"pwdPolicySubentry: {LAX}\n", then=replaced("pwdReset", "TRUE")),
    "pwdStartTime is to come": State(then=replaced("pwdStartTime", TO_COME)),
    "pwdStartTime is over": State(then=replaced("pwdStartTime", PAST)),
    "pwdEndTime is over": State(then=replaced("pwdEndTime", PAST)),
    "pwdEndTime is to come": State(then=replaced("pwdEndTime", TO_COME)),
    "shadowExpire is over": State(f"{SHADOW}shadowExpire: 18000\n"),
    "shadowExpire is to come": State(f"{SHADOW}shadowExpire: 99999\n"),
}
WHY = {
    "expired, with grace logins": "custom uses no grace login up, so it gives none",
    "inactive for too long": "the limit stands in another entry, and custom leaves no lastLoginTime",
    "the same, the policy does not ask for it": "pwdMustChange stands in the policy's entry",
}
"""States about which custom and bind differ."""


@contextmanager
def switched(server: Ds389, switches: Mapping[str, str]) -> Iterator[None]:
    off = {"passwordUnlock": "on", "passwordGraceLimit": "0"}
    for name, value in switches.items():
        server.configure(name, value)
    yield
    for name in switches:
        if name in off or name in {"passwordLockout", "passwordExp", "passwordMustChange"}:
            server.configure(name, off.get(name, "off"))


class Measured(NamedTuple):
    right: dict[str, Said]
    wrong: dict[str, Said]


def measure(server: DirectoryServer, states: Mapping[str, State]) -> Measured:
    told = Measured({}, {})
    with FourWays.running(server) as four:
        for number, (name, state) in enumerate(states.items()):
            uid = f"state{number}"
            with switched(server, state.switches) if isinstance(server, Ds389) else switched_not():
                server.add(people.person(uid, people.ssha(PASSWORD), more=state.begin))
                if "class of service" in name or "role" in name:
                    wait_until(lambda: "nsAccountLock: true" in shown(server, uid), name)  # noqa: B023 - called at once
                if state.then is not None:
                    state.then(server, uid)
                told.right[name] = four.ask(uid, PASSWORD)
                told.wrong[name] = four.ask(uid, "wrong")
    return told


@contextmanager
def switched_not() -> Iterator[None]:
    yield


def shown(server: DirectoryServer, uid: str) -> str:
    return server.search("(objectClass=*)", "nsAccountLock", base=people.dn(uid))


def rows(told: Measured) -> Iterator[list[str]]:
    for name, said in told.right.items():
        ours = ["accepted" if word == "ok" else f"refused: {word}" for word in (said.custom, said.bind)]
        originals = ["accepted" if word else "refused" for word in (said.original_custom, said.original_bind)]
        differ = (said.custom == "ok") != (said.bind == "ok")
        yield [name, *originals, *ours, WHY[name] if differ else ""]


HEAD = ["state", *EVERY_COLUMN, "why custom and bind differ"]


def look_at(told: Measured, name: str) -> None:
    said, wrong = told.right[name], told.wrong[name]
    assert not any(wrong.accepted)
    assert wrong.custom == "wrong-password"  # who guesses learns nothing of the state
    assert (said.accepted[2] != said.accepted[3]) == (name in WHY)
    # bind is the server's own verdict, but for what must be changed, and for what no server enforces
    assert said.accepted[3] == said.original_bind or said.bind == "must-change" or "shadowExpire" in name


# -- 389 Directory Server


@pytest.fixture(scope="module")
def ds(authority: Authority) -> Iterator[Ds389]:
    """With a role, a class of service and an inactivity limit; the service account sees passwords and no state."""
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority, users=1) as server:
        policy = "cn=Account Policy Plugin,cn=plugins,cn=config"
        for name, value in {
            "alwaysrecordlogin": "yes",
            "stateattrname": "lastLoginTime",
            "altstateattrname": "createTimestamp",
            "specattrname": "acctPolicySubentry",
            "limitattrname": "accountInactivityLimit",
        }.items():
            server.replace(f"cn=config,{policy}", name, value)
        server.replace(policy, "nsslapd-pluginarg0", f"cn=config,{policy}")
        for plugin in (policy, "cn=MemberOf Plugin,cn=plugins,cn=config"):
            server.replace(plugin, "nsslapd-pluginEnabled", "on")
        server.replace(people.PEOPLE, "aci", ACI)
        server.add(LOCKS)
        server.stop()
        server.start()
        yield server


ACI = (
    '(targetattr="objectClass || mail || userPassword || memberOf")(version 3.0; acl "userretriever reads passwords";'
    f' allow (read,search) userdn="ldap:///{people.SERVICE_DN}";)'
)
LOCKS = f"""\
dn: {COS}
objectClass: ldapsubentry
objectClass: extensibleObject
objectClass: accountPolicy
accountInactivityLimit: 86400
cn: inactivity

dn: {ROLE}
objectClass: LdapSubEntry
objectClass: nsRoleDefinition
objectClass: nsSimpleRoleDefinition
objectClass: nsManagedRoleDefinition
cn: left

dn: cn=locked,{people.SUFFIX}
objectClass: nsContainer
cn: locked

dn: cn="{ROLE}",cn=locked,{people.SUFFIX}
objectClass: extensibleObject
objectClass: costemplate
objectClass: ldapsubentry
cosPriority: 1
nsAccountLock: true

dn: cn=by role,{people.SUFFIX}
objectClass: LdapSubEntry
objectClass: cosSuperDefinition
objectClass: cosClassicDefinition
cosTemplateDn: cn=locked,{people.SUFFIX}
cosSpecifier: nsRole
cosAttribute: nsAccountLock operational
cn: by role

dn: cn=left,cn=locked,{people.SUFFIX}
objectClass: extensibleObject
objectClass: costemplate
objectClass: ldapsubentry
cosPriority: 1
nsAccountLock: true

dn: cn=by type,{people.SUFFIX}
objectClass: LdapSubEntry
objectClass: cosSuperDefinition
objectClass: cosClassicDefinition
cosTemplateDn: cn=locked,{people.SUFFIX}
cosSpecifier: employeeType
cosAttribute: nsAccountLock operational-default
cn: by type

"""


def seen(server: DirectoryServer) -> str:
    """What the daemon says at its start about what the service account sees."""
    with Daemon.running(article(server)) as daemon:
        wait_until(lambda: "account state: " in daemon.log, "the word about the account state")
        return daemon.log.partition("account state: ")[2].partition("\n")[0]


@pytest.fixture(scope="module")
def blind(ds: Ds389) -> str:
    """What is said before anything was granted."""
    return seen(ds)


@pytest.fixture(scope="module")
def mended(ds: Ds389, blind: str) -> Ds389:
    """The server after the ACIs have been added that the daemon has asked for."""
    acis = re.findall(r"to (\S+) add aci: (\(.*?;\))", blind)
    assert len(acis) == 2
    for dn, aci in acis:
        ds.modify(f"dn: {dn}\nchangetype: modify\nadd: aci\naci: {aci}\n")
    return ds


@pytest.fixture(scope="module")
def told_389(mended: Ds389) -> Measured:
    return measure(mended, STATES_389)


def test_at_start_the_daemon_tells_not_locked_from_may_not_see_it(ds: Ds389, blind: str, mended: Ds389) -> None:
    assert blind.startswith("the service account may not see nsAccountLock (locked accounts are let in) nor")
    assert seen(mended) == "the service account sees locks, expiry and must-change"


@pytest.mark.parametrize("name", STATES_389)
def test_custom_is_bind_on_389_ds(told_389: Measured, name: str) -> None:
    look_at(told_389, name)


def test_the_table_of_389_ds_is_what_was_measured(told_389: Measured) -> None:
    compare("reference/account-state.md", "389 Directory Server", HEAD, rows(told_389))


def test_without_the_control_what_stands_in_the_entry_counts(mended: Ds389) -> None:
    """A site that grants the attributes alone: the switches cannot be seen, so they are taken to be on."""
    control = "oid=1.3.6.1.4.1.42.2.27.9.5.8,cn=features,cn=config"
    held = re.findall("^aci: (.*)$", mended.search("(objectClass=*)", "aci", base=control), re.MULTILINE)
    mended.replace(control, "aci")
    every = "accountUnlockTime || passwordRetryCount || pwdReset"
    mended.modify(f"dn: {people.PEOPLE}\nchangetype: modify\nadd: aci\naci: {ACI.replace('memberOf', every)}\n")
    try:
        text = people.person("late", people.ssha(PASSWORD)) + people.person("tried", people.ssha(PASSWORD))
        mended.add(text + people.person("fresh", people.ssha(PASSWORD)))
        mended.replace(people.dn("late"), "passwordExpirationTime", PAST)
        mended.replace(people.dn("tried"), "accountUnlockTime", TO_COME)
        mended.replace(people.dn("fresh"), "passwordExpirationTime", "19700101000000Z")
        with Daemon.running(article(mended)) as daemon:
            for uid, reason in {"late": "expired", "tried": "too-many-tries", "fresh": "must-change"}.items():
                assert daemon.ask(f"{uid}@hoge.cxm", PASSWORD) == b"NO"
                assert daemon.logged(f"[reason={reason}]")
            assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"OK"
    finally:
        mended.replace(control, "aci", *held)


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_memberof_is_read_from_the_user_s_own_entry(mended: Ds389, method: str) -> None:
    group = f"cn=mail {method},{people.SUFFIX}"
    mended.add(f"dn: {group}\nobjectClass: groupOfNames\ncn: mail {method}\nmember: {people.PENGUIN_DN}\n\n")
    wait_until(lambda: group in mended.search("(uid=penguin)", "memberOf"), "memberOf")
    keys = {"ldap_group_match_method": "memberof", "ldap_group_dn": group.upper().replace("CXM", "%1")}
    with Daemon.running(article(mended, method, **keys)) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
        assert daemon.ask("u0@hoge.cxm", "u0-pass") == b"NO"
        assert daemon.logged("[reason=not-in-group]")


# -- OpenLDAP


@pytest.fixture(scope="module")
def ppolicy(authority: Authority) -> Iterator[Slapd]:
    """With the overlay ppolicy, which tells of locks (``ppolicy_use_lockout``)."""
    need("slapd", "slapadd", "ldapmodify", "ldapsearch")
    overlay = f'overlay ppolicy\nppolicy_default "{POLICY}"\nppolicy_use_lockout\n'
    with Slapd(authority, users=1, extra=overlay) as server:
        for dn, more in {
            POLICY: "pwdLockout: TRUE\npwdMaxFailure: 3\npwdLockoutDuration: 3600\npwdMustChange: TRUE\n"
            "pwdMaxAge: 86400000\n",
            LAX: "pwdLockout: FALSE\npwdMustChange: FALSE\n",
            GRACE: "pwdMaxAge: 86400000\npwdGraceAuthNLimit: 9\n",
        }.items():
            server.add(
                f"dn: {dn}\nobjectClass: organizationalRole\nobjectClass: pwdPolicy\n"
                f"pwdAttribute: userPassword\n{more}\n"
            )
        yield server


@pytest.fixture(scope="module")
def told_openldap(ppolicy: Slapd) -> Measured:
    return measure(ppolicy, STATES_OPENLDAP)


@pytest.mark.parametrize("name", STATES_OPENLDAP)
def test_custom_is_bind_on_openldap(told_openldap: Measured, name: str) -> None:
    look_at(told_openldap, name)


def test_the_table_of_openldap_is_what_was_measured(told_openldap: Measured) -> None:
    compare("reference/account-state.md", "OpenLDAP", HEAD, rows(told_openldap))


def test_openldap_tells_what_its_policy_says_but_no_rights(ppolicy: Slapd, slapd: Slapd) -> None:
    assert seen(ppolicy) == "the directory itself tells the service account whether an account may be used"
    assert seen(slapd).startswith("whether the service account sees locked accounts cannot be told: the directory")


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_must_change_is_accepted_where_it_is_wanted(ppolicy: Slapd, method: str) -> None:
    uid = f"new-{method}"
    ppolicy.add(people.person(uid, people.ssha(PASSWORD)))
    ppolicy.replace(people.dn(uid), "pwdReset", "TRUE")
    with Daemon.running(article(ppolicy, method, ldap_must_change="accept")) as daemon:
        assert daemon.ask(f"{uid}@hoge.cxm", PASSWORD) == b"OK"
        assert daemon.ask(f"{uid}@hoge.cxm", "wrong") == b"NO"


@pytest.mark.parametrize("method", ["custom", "bind"])
def test_the_reason_is_a_code_on_the_dovecot_socket(ppolicy: Slapd, method: str) -> None:
    codes = {"pwdAccountLockedTime: 000001010000Z": "user_disabled", "pwdReset: TRUE": "pass_expired"}
    with Daemon.running(article(ppolicy, method), "--dovecot-socket", "{folder}/auth") as daemon:
        wait_until((daemon.folder / "auth").exists, "the socket")
        for number, (state, code) in enumerate(codes.items()):
            uid = f"dovecot-{method}-{number}"
            ppolicy.add(people.person(uid, people.ssha(PASSWORD)))
            ppolicy.replace(people.dn(uid), *state.split(": "))
            said = ask(daemon.folder / "auth", f"{uid}@hoge.cxm", PASSWORD)
            assert said is not None
            assert said.startswith("FAIL\t1\t")
            assert said.endswith(f"\t{code}\tcode={code}")
