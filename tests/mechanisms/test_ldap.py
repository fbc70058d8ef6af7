from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mechanisms.fake import NOW, PENGUIN, FakeDirectory, check, entry, found, settings
from pysaslauthd.directory.interface import Bound, Found, Query
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.errors import (
    ConnectionLost,
    DirectoryDown,
    DirectoryError,
    DirectoryRefused,
    DirectoryTimeout,
    ServiceBindRefused,
)
from pysaslauthd.flow import Reply, future
from pysaslauthd.flow import run as drive
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict, identify
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY
from rig import people

PASSWORD = people.PENGUIN_PASSWORD
SSHA = people.ssha(PASSWORD)
PBKDF2 = "{PBKDF2-SHA256}10000$UB8VRVY8Gtik4hZCmDcMCfdBhp0tCaCr$ih5UK+9LzhvTzbzNmN1hEJ3COG9n4msdIA1YGTFbjSU="
FASTBIND = {"ldap_filter": f"uid=%U,{people.PEOPLE}", "ldap_search_base": "", "ldap_bind_dn": "", "ldap_password": ""}
SASL = {**FASTBIND, "ldap_filter": "", "ldap_use_sasl": "yes", "ldap_mech": "PLAIN"}
LOCKED_USABILITY = {ACCOUNT_USABILITY: b"\xa1\x03\x80\x01\xff"}


def identities(*logins: str, service: str = "smtp", realm: str = "") -> list[Identity]:
    return [identify(AuthRequest(login.encode(), b"", service.encode(), realm.encode())) for login in logins]


def key(identity: Identity, method: str = "custom", **keys: str) -> bytes:
    with ThreadPoolExecutor(1) as threads:
        return LdapMechanism(settings(method, **keys), FakeDirectory(found()), threads).key(identity)


# Finding the user


@pytest.mark.parametrize("method", ["custom", "bind"])
@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (found(), Reason.UNKNOWN_USER, ""),
        (found(references=2), Reason.UNKNOWN_USER, "no entry, but 2 referrals that are not followed"),
        (
            found(entry(aliasedObjectName="uid=other")),
            Reason.UNKNOWN_USER,
            "only an alias, which ldap_deref leaves as it is",
        ),
        (found(entry(), entry()), Reason.AMBIGUOUS_USER, "several entries match ldap_filter"),
        (
            found(entry(), size_limit_exceeded=True),
            Reason.AMBIGUOUS_USER,
            "several entries match ldap_filter, more than ldap_size_limit lets through",
        ),
    ],
)
def test_who_is_not_exactly_one_entry_is_nobody_each_with_its_reason(
    method: str, answer: Any, reason: Reason, detail: str
) -> None:
    directory = FakeDirectory(answer)
    outcome = check(directory, settings(method))
    assert (outcome.reason, outcome.detail) == (reason, detail)
    assert directory.binds == []


def test_a_referral_beside_the_entry_changes_nothing() -> None:
    assert check(FakeDirectory(found(entry(userPassword=SSHA), references=3)), settings()).reason is Reason.OK


@pytest.mark.parametrize(
    ("method", "keys", "attributes"),
    [
        ("custom", {"ldap_account_state": "no"}, ["aliasedObjectName", "userPassword"]),
        ("custom", {"ldap_account_state": "no", "ldap_password_attr": "p"}, ["aliasedObjectName", "p"]),
        ("bind", {}, ["aliasedObjectName", "shadowExpire"]),
        ("bind", {"ldap_account_state": "no"}, ["aliasedObjectName"]),
    ],
)
def test_no_more_is_asked_for_than_is_looked_at(method: str, keys: dict[str, str], attributes: list[str]) -> None:
    directory = FakeDirectory(found())
    check(directory, settings(method, **keys))
    ((query, _, dn),) = directory.searches
    assert [*query.attributes] == attributes
    assert (query.scope, query.size_limit, query.deref, query.controls, dn) == ("sub", 1, "never", (), b"")


# custom


@pytest.mark.parametrize(
    ("stored", "reason", "detail"),
    [
        ([SSHA], Reason.OK, ""),
        ([PASSWORD], Reason.OK, ""),
        ([PBKDF2], Reason.OK, ""),
        ([people.ssha("x"), SSHA], Reason.OK, ""),
        ([SSHA, people.ssha("x")], Reason.OK, ""),
        (["{NEW}x", SSHA], Reason.OK, ""),
        (["{SASL}penguin", SSHA], Reason.OK, ""),
        ([people.ssha("x")], Reason.WRONG_PASSWORD, "scheme SSHA"),
        ([people.ssha("x"), "{MD5}HApwAQzNzgz/e2vmbC86sQ=="], Reason.WRONG_PASSWORD, "scheme SSHA MD5"),
        (["{NEW}x", "x"], Reason.WRONG_PASSWORD, "scheme CLEAR"),
        (["{NEW}x"], Reason.UNKNOWN_SCHEME, "scheme NEW"),
        (["{SSHA}x"], Reason.MALFORMED_HASH, "scheme SSHA"),
        (["{CRYPT}$6$rounds=999999999$xS$" + "a" * 86], Reason.HASH_TOO_COSTLY, "scheme CRYPT"),
        (["{CRYPT}$6$rounds=999999999$xS$" + "a" * 86, "x"], Reason.HASH_TOO_COSTLY, "scheme CRYPT"),
        ([], Reason.NO_PASSWORD, "none stored, or none that the service account may read"),
    ],
)
def test_any_stored_password_may_match_and_what_was_not_checked_is_no_mismatch(
    stored: list[str], reason: Reason, detail: str
) -> None:
    outcome = check(FakeDirectory(found(entry(userPassword=stored) if stored else entry())), settings())
    assert (outcome.reason, outcome.detail, outcome.dn) == (reason, detail, PENGUIN)


def test_a_hash_that_cannot_be_checked_here_is_unavailable_and_says_what_to_do() -> None:
    outcome = check(FakeDirectory(found(entry(userPassword=["{SASL}penguin", "x"]))), settings())
    assert outcome.reason is Reason.HASH_UNSUPPORTED
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert outcome.detail.startswith("scheme SASL, ")


def test_the_limit_on_a_hash_is_the_configuration_s() -> None:
    directory = FakeDirectory(found(entry(userPassword=PBKDF2)))
    assert check(directory, settings(ldap_hash_limit="1")).reason is Reason.HASH_TOO_COSTLY


def test_a_slow_hash_is_checked_in_a_thread_and_a_quick_one_is_not() -> None:
    class Counting(ThreadPoolExecutor):
        jobs = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            def call(*args: Any) -> Any:
                assert threading.current_thread() is not threading.main_thread()
                return fn(*args)

            self.jobs += 1
            return super().submit(call, *args, **kwargs)

    for stored, jobs in ((PBKDF2, 1), (SSHA, 0)):
        threads = Counting(1)
        assert check(FakeDirectory(found(entry(userPassword=stored))), settings(), threads=threads).reason is Reason.OK
        assert threads.jobs == jobs


def test_the_event_loop_turns_while_a_hash_is_checked() -> None:
    release = threading.Event()

    async def blocked() -> Reason:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            threads.submit(release.wait)  # whatever the hash takes, it waits behind this
            mechanism = LdapMechanism(settings(), FakeDirectory(found(entry(userPassword=PBKDF2))), threads)
            answer = future(mechanism.check(identities(people.PENGUIN)[0], PASSWORD.encode()))
            loop.call_soon(release.set)  # never run, if the loop were blocked
            return (await answer).reason

    assert asyncio.run(blocked()) is Reason.OK


@pytest.mark.parametrize("attribute", ["sambaPassword", "SAMBAPASSWORD"])
def test_the_password_may_stand_in_another_attribute(attribute: str) -> None:
    directory = FakeDirectory(found(entry(sambaPassword=PASSWORD, userPassword="other")))
    conf = settings(ldap_password_attr=attribute)
    assert check(directory, conf).reason is Reason.OK
    assert check(directory, conf, "other").reason is Reason.WRONG_PASSWORD


# Account state


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (entry(userPassword=SSHA, nsAccountLock="TRUE"), Reason.LOCKED),
        (entry(LOCKED_USABILITY, userPassword=SSHA), Reason.TOO_MANY_TRIES),
        (entry(userPassword=SSHA, pwdReset="TRUE"), Reason.MUST_CHANGE),
        (entry(userPassword=SSHA, shadowExpire="19675"), Reason.EXPIRED),
    ],
)
def test_custom_refuses_an_account_for_its_state_after_the_right_password_alone(held: Any, reason: Reason) -> None:
    directory = FakeDirectory(found(held))
    assert check(directory, settings()).reason is reason
    assert check(directory, settings(), "wrong").reason is Reason.WRONG_PASSWORD
    assert check(directory, settings(ldap_account_state="no")).reason is Reason.OK


def test_the_state_comes_with_the_entry_in_one_search() -> None:
    directory = FakeDirectory(found(entry(userPassword=SSHA, nsAccountLock="false")))
    assert check(directory, settings()).reason is Reason.OK
    ((query, _, _),) = directory.searches
    assert {"userPassword", "nsAccountLock", "pwdAccountLockedTime"} <= {*query.attributes}
    assert [control.oid for control in query.controls] == [ACCOUNT_USABILITY]


def test_what_expires_expires_by_the_clock() -> None:
    directory = FakeDirectory(found(entry(userPassword=SSHA, shadowExpire="19676")))
    assert check(directory, settings()).reason is Reason.OK
    assert check(directory, settings(), clock=lambda: NOW + 86400).reason is Reason.EXPIRED


def test_who_may_not_use_the_control_is_asked_without_it_from_then_on() -> None:
    refused = DirectoryRefused(50, "search: Insufficient access rights")
    directory = FakeDirectory(refused, found(entry(userPassword=SSHA)))

    async def twice() -> None:
        with ThreadPoolExecutor(1) as threads:
            mechanism = LdapMechanism(settings(), directory, threads)
            for _ in range(2):
                outcome = await future(mechanism.check(identities(people.PENGUIN)[0], PASSWORD.encode()))
                assert outcome.reason is Reason.OK

    asyncio.run(twice())
    assert [bool(query.controls) for query, _, _ in directory.searches] == [True, False, False]
    assert len({query.attributes for query, _, _ in directory.searches}) == 1


def test_so_are_those_whose_search_with_it_was_under_way_already() -> None:
    class Held(FakeDirectory):
        def __init__(self) -> None:
            super().__init__(found(entry(userPassword=SSHA)))
            self.held = list[Reply[Found]]()

        async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
            if query.controls:
                self.held.append(Reply())
                return await self.held[-1]
            return await super().search(query, identity, dn)

    directory, outcomes = Held(), list[Outcome | None]()
    with ThreadPoolExecutor(1) as threads:
        mechanism = LdapMechanism(settings(), directory, threads)
        for _ in range(2):
            drive(
                mechanism.check(identities(people.PENGUIN)[0], PASSWORD.encode()),
                lambda outcome, _: outcomes.append(outcome),
            )
        for reply in directory.held:
            reply.fail(DirectoryRefused(50, "search: Insufficient access rights"))
    assert [outcome and outcome.reason for outcome in outcomes] == [Reason.OK, Reason.OK]


def test_a_search_that_is_refused_without_the_control_too_is_refused() -> None:
    directory = FakeDirectory(DirectoryRefused(50, "search: result 50 (insufficientAccessRights): no"))
    outcome = check(directory, settings())
    assert (outcome.reason, outcome.detail) == (
        Reason.DIRECTORY_REFUSED,
        "search: result 50 (insufficientAccessRights): no",
    )
    assert len(directory.searches) == 2
    directory = FakeDirectory(DirectoryRefused(50, "search: result 50 (insufficientAccessRights): no"))
    check(directory, settings(ldap_account_state="no"))
    assert len(directory.searches) == 1


def test_version_2_has_no_controls() -> None:
    directory = FakeDirectory(found())
    check(directory, settings(ldap_version="2"))
    assert directory.searches[0][0].controls == ()


def test_a_malformed_control_is_no_verdict() -> None:
    outcome = check(FakeDirectory(found(entry({ACCOUNT_USABILITY: b"\x30"}, userPassword=SSHA))), settings())
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert "does not decode" in outcome.detail


@pytest.mark.parametrize(
    ("directory", "method"),
    [
        (FakeDirectory(found(entry(userPassword=SSHA, pwdReset="TRUE"))), "custom"),
        (FakeDirectory(found(entry()), bound=Bound(49, "80090308: AcceptSecurityContext error, data 773")), "bind"),
    ],
)
def test_must_change_can_be_accepted(directory: FakeDirectory, method: str) -> None:
    refused = check(directory, settings(method))
    assert (refused.reason, refused.verdict) == (Reason.MUST_CHANGE, Verdict.REJECTED)
    accepted = check(directory, settings(method, ldap_must_change="accept"))
    assert (accepted.reason, accepted.detail, accepted.dn) == (Reason.OK, "", PENGUIN)


def test_accepting_must_change_accepts_nothing_else() -> None:
    conf = settings(ldap_must_change="accept")
    for held in (
        entry(userPassword=SSHA, pwdReset="TRUE", nsAccountLock="true"),
        entry(userPassword=SSHA, pwdEndTime="2"),
    ):
        assert check(FakeDirectory(found(held)), conf).verdict is Verdict.REJECTED
    assert (
        check(FakeDirectory(found(entry(userPassword=SSHA, pwdReset="TRUE"))), conf, "no").verdict is Verdict.REJECTED
    )


# bind and fastbind


def test_bind_binds_as_the_entry_that_was_found() -> None:
    directory = FakeDirectory(found(entry()), bound=Bound(0, server="ldap://a"))
    outcome = check(directory, settings("bind"))
    assert outcome == Outcome(Reason.OK, "", PENGUIN, "ldap://a")
    assert directory.binds == [(PENGUIN, PASSWORD.encode())]


def test_bind_leaves_the_server_s_own_states_to_the_server() -> None:
    directory = FakeDirectory(found(entry(nsAccountLock="true", pwdReset="TRUE")))
    assert check(directory, settings("bind")).reason is Reason.OK


def test_bind_looks_at_what_no_server_enforces() -> None:
    expired = found(entry(shadowExpire="1"))
    assert check(FakeDirectory(expired), settings("bind")).reason is Reason.EXPIRED
    assert check(FakeDirectory(expired), settings("bind", ldap_account_state="no")).reason is Reason.OK
    assert check(FakeDirectory(expired, bound=Bound(49)), settings("bind")).reason is Reason.WRONG_PASSWORD


def test_fastbind_makes_the_dn_and_searches_nothing() -> None:
    directory = FakeDirectory(found(), bound=Bound(49, server="ldap://a"))
    outcome = check(directory, settings("fastbind", **FASTBIND), login="a,b@hoge.cxm")
    dn = rf"uid=a\2cb,{people.PEOPLE}".encode()
    assert outcome == Outcome(Reason.WRONG_PASSWORD, "bind: result 49 (invalidCredentials)", dn, "ldap://a")
    assert (directory.searches, directory.binds) == ([], [(dn, PASSWORD.encode())])


@pytest.mark.parametrize(
    ("login", "realm", "authcid"),
    [("penguin", "", b"penguin"), ("penguin", "r", b"penguin@r"), ("penguin@hoge.cxm", "r", b"penguin@hoge.cxm")],
)
def test_fastbind_by_sasl_plain_sends_the_login_and_learns_the_dn(login: str, realm: str, authcid: bytes) -> None:
    directory = FakeDirectory(found(), bound=Bound(0, authzid=b"dn:" + PENGUIN))

    async def once() -> Any:
        with ThreadPoolExecutor(1) as threads:
            mechanism = LdapMechanism(settings("fastbind", **SASL), directory, threads)
            return await future(mechanism.check(identities(login, realm=realm)[0], PASSWORD.encode()))

    assert asyncio.run(once()).dn == PENGUIN
    assert directory.binds == [(authcid, PASSWORD.encode())]


# What gives no verdict


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DirectoryDown("down"), Reason.DIRECTORY_DOWN),
        (ConnectionLost("lost"), Reason.DIRECTORY_DOWN),
        (DirectoryTimeout("late", silent=True), Reason.DIRECTORY_TIMEOUT),
        (DirectoryRefused(1, "search: result 1 (operationsError): no"), Reason.DIRECTORY_REFUSED),
        (ServiceBindRefused(49, "bind as cn=a: result 49 (invalidCredentials)"), Reason.SERVICE_BIND_REFUSED),
    ],
)
def test_an_error_of_the_directory_is_unavailable_wherever_it_happens(error: DirectoryError, reason: Reason) -> None:
    group = {"ldap_group_dn": "cn=g"}
    for directory, conf in (
        (FakeDirectory(error), settings()),
        (FakeDirectory(found(entry()), bound=error), settings("bind")),
        (FakeDirectory(found(), bound=error), settings("fastbind", **FASTBIND)),
        (FakeDirectory(found(entry(userPassword=SSHA)), member=error), settings(**group)),
    ):
        outcome = check(directory, conf)
        assert (outcome.reason, outcome.verdict, outcome.detail) == (reason, Verdict.UNAVAILABLE, str(error))


# Keys


def test_one_person_is_one_key_however_the_login_was_typed() -> None:
    full, bare = identities("penguin@hoge.cxm")[0], identities("penguin", realm="hoge.cxm")[0]
    assert key(full) == key(bare)
    assert key(full) != key(identities("penguin@hoge.exm")[0])
    assert key(full) != key(identities("pinguin@hoge.cxm")[0])


def test_no_two_questions_share_a_key() -> None:
    assert key(identities("a@bc")[0]) != key(identities("ab@c")[0])


def test_the_service_is_in_the_key_where_a_template_has_it() -> None:
    smtp, imap = identities("penguin@hoge.cxm")[0], identities("penguin@hoge.cxm", service="imap")[0]
    assert key(smtp) == key(imap)
    for keys in (
        {"ldap_filter": "(&(uid=%U)(ou=%s))"},
        {"ldap_search_base": "ou=%s"},
        {"ldap_group_dn": "cn=%s"},
        {"ldap_group_dn": "cn=%s", "ldap_group_match_method": "memberof"},
        {"ldap_group_match_method": "filter", "ldap_group_filter": "(&(member=%D)(cn=%s))"},
        {"ldap_group_match_method": "filter", "ldap_group_filter": "(member=%D)", "ldap_group_search_base": "ou=%s"},
    ):
        assert key(smtp, **keys) != key(imap, **keys), keys


def test_what_fastbind_does_not_use_is_not_in_its_key() -> None:
    full, bare = identities("penguin@hoge.cxm")[0], identities("penguin", realm="other")[0]
    assert key(full, "fastbind", **FASTBIND) == key(bare, "fastbind", **FASTBIND)
    assert key(full, "fastbind", **SASL) != key(bare, "fastbind", **SASL)


# An LDIF file


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_custom_and_bind_are_of_one_mind_about_an_ldif_file(tmp_path: Path, threads: Executor) -> None:
    states = {
        "fine": "",
        "locked": "nsAccountLock: true\n",
        "tried": "pwdAccountLockedTime: 20231114000000Z\n",
        "reset": "pwdReset: TRUE\n",
        "ended": "pwdEndTime: 20231114000000Z\n",
        "shadow": "shadowExpire: 10\n",
    }
    file = tmp_path / "people.ldif"
    text = "".join(people.person(uid, SSHA, more=more) for uid, more in states.items())
    file.write_text(text + people.person("empty", []))
    conf = {"ldap_servers": f"ldif://{file}", "ldap_bind_dn": "", "ldap_password": ""}
    for uid in (*states, "empty", "nobody"):
        for password in (PASSWORD, "wrong", SSHA):
            custom, bind = (
                check(LdifDirectory(str(file), threads), settings(method, **conf), password, f"{uid}@hoge.cxm").verdict
                for method in ("custom", "bind")
            )
            assert custom is bind
            assert (custom is Verdict.ACCEPTED) == (uid == "fine" and password == PASSWORD)
