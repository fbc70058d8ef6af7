from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pysaslauthd import auth
from pysaslauthd.auth import Authenticator
from pysaslauthd.cache import Cache
from pysaslauthd.flow import Reply
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict

GOOD = AuthRequest(b"penguin@hoge.cxm", b"penguin-pass", b"smtp")


class Directory:
    """A mechanism whose answers the test gives by hand."""

    def __init__(self) -> None:
        self.asked: list[tuple[Identity, bytes]] = []
        self.replies: list[Reply[Outcome]] = []

    def key(self, identity: Identity) -> bytes:
        return b"%b\0%b" % (identity.user, identity.domain)

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        self.asked.append((identity, password))
        reply: Reply[Outcome] = Reply()
        self.replies.append(reply)
        return await reply


class Rig:
    def __init__(self, **options: Any) -> None:
        self.directory = Directory()
        self.reports: list[tuple[AuthRequest, Identity, Outcome, float]] = []
        self.authenticator = Authenticator(self.directory, lambda *event: self.reports.append(event), **options)

    def ask(self, request: AuthRequest = GOOD) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self.authenticator.authenticate(request, outcomes.append)
        return outcomes


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def wrapper() -> None:
        asyncio.run(test())

    wrapper.__name__ = test.__name__
    return wrapper


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (GOOD._replace(login=b""), Reason.EMPTY_LOGIN),
        (GOOD._replace(login=b"@hoge.cxm"), Reason.EMPTY_LOGIN),
        (GOOD._replace(password=b""), Reason.EMPTY_PASSWORD),
        (GOOD._replace(login=b"pen\0guin"), Reason.NUL_IN_LOGIN),
        (GOOD._replace(realm=b"hoge\0.cxm"), Reason.NUL_IN_LOGIN),
        (GOOD._replace(service=b"sm\0tp"), Reason.NUL_IN_LOGIN),
        (GOOD._replace(password=b"penguin-pass\0x"), Reason.NUL_IN_PASSWORD),
    ],
)
def test_what_must_not_be_asked_is_refused_at_once(request_: AuthRequest, reason: Reason) -> None:
    async def main() -> None:
        rig = Rig()
        assert [outcome.reason for outcome in rig.ask(request_)] == [reason]
        assert reason.verdict is Verdict.REJECTED
        assert rig.directory.asked == []
        assert len(rig.reports) == 1

    asyncio.run(main())


@on_loop
async def test_a_login_waits_for_the_mechanism_and_is_reported_once() -> None:
    rig = Rig()
    outcomes = rig.ask()
    assert outcomes == []
    rig.directory.replies[0].set(Outcome(Reason.OK))
    assert outcomes == [Outcome(Reason.OK)]
    assert [(request, outcome) for request, _, outcome, _ in rig.reports] == [(GOOD, Outcome(Reason.OK))]


@on_loop
async def test_an_accepted_login_is_answered_from_the_cache_however_it_is_typed() -> None:
    rig = Rig(cache=Cache(10, 3600), default_realm=b"hoge.cxm")
    rig.ask()
    rig.directory.replies[0].set(Outcome(Reason.OK))
    for login, realm in [(b"penguin@hoge.cxm", b""), (b"penguin", b"hoge.cxm"), (b"penguin", b"")]:
        assert rig.ask(GOOD._replace(login=login, realm=realm)) == [Outcome(Reason.OK, cached=True)]
    assert len(rig.directory.asked) == 1


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_nothing_but_an_accepted_login_is_cached(reason: Reason) -> None:
    async def main() -> None:
        rig = Rig(cache=Cache(10, 3600))
        for count in (1, 2):
            rig.ask()
            assert len(rig.directory.asked) == count
            rig.directory.replies[-1].set(Outcome(reason))

    asyncio.run(main())


@on_loop
async def test_a_wrong_password_neither_uses_nor_harms_the_cached_one() -> None:
    rig = Rig(cache=Cache(10, 3600))
    rig.ask()
    rig.directory.replies[0].set(Outcome(Reason.OK))
    wrong = rig.ask(GOOD._replace(password=b"wrong"))
    rig.directory.replies[1].set(Outcome(Reason.WRONG_PASSWORD))
    assert [outcome.reason for outcome in wrong] == [Reason.WRONG_PASSWORD]
    assert rig.ask() == [Outcome(Reason.OK, cached=True)]


@on_loop
async def test_equal_requests_that_arrive_together_are_asked_once() -> None:
    rig = Rig()
    answers = [rig.ask() for _ in range(50)]
    other = rig.ask(GOOD._replace(password=b"other"))
    assert len(rig.directory.asked) == 2
    rig.directory.replies[0].set(Outcome(Reason.OK))
    assert answers == [[Outcome(Reason.OK)]] * 50
    assert other == []
    assert len(rig.reports) == 50


@on_loop
async def test_after_the_answer_the_same_request_is_asked_anew() -> None:
    rig = Rig()
    rig.ask()
    rig.directory.replies[0].set(Outcome(Reason.WRONG_PASSWORD))
    rig.ask()
    assert len(rig.directory.asked) == 2


@on_loop
async def test_past_the_deadline_a_login_is_unavailable_and_a_late_answer_changes_nothing() -> None:
    rig = Rig(deadline=0.01)
    outcome = await rig.authenticator.decide(GOOD)
    assert outcome.reason is Reason.DEADLINE
    again = asyncio.create_task(rig.authenticator.decide(GOOD))
    await asyncio.sleep(0)
    assert len(rig.directory.asked) == 2
    rig.directory.replies[0].set(Outcome(Reason.OK))
    assert (await again).reason is Reason.DEADLINE
    assert len(rig.reports) == 2


@on_loop
async def test_an_acceptance_after_the_deadline_is_still_true_for_the_cache() -> None:
    rig = Rig(deadline=0.01, cache=Cache(10, 3600))
    assert (await rig.authenticator.decide(GOOD)).reason is Reason.DEADLINE
    rig.directory.replies[0].set(Outcome(Reason.OK))
    assert rig.ask() == [Outcome(Reason.OK, cached=True)]


@on_loop
async def test_each_question_has_its_own_deadline() -> None:
    rig = Rig(deadline=0.03)
    first = asyncio.create_task(rig.authenticator.decide(GOOD))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(rig.authenticator.decide(GOOD._replace(login=b"u1")))
    await first
    assert not second.done()
    rig.directory.replies[1].set(Outcome(Reason.OK))
    assert (await second).reason is Reason.OK


@on_loop
async def test_too_many_questions_are_unavailable_at_once() -> None:
    rig = Rig()
    for number in range(auth.MAX_QUESTIONS):
        assert rig.ask(GOOD._replace(login=b"u%d" % number)) == []
    assert [outcome.reason for outcome in rig.ask()] == [Reason.OVERLOADED]
    rig.directory.replies[0].set(Outcome(Reason.OK))
    assert rig.ask() == []


def test_a_fault_of_the_program_is_unavailable_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rig = Rig()
        outcomes = rig.ask()
        rig.directory.replies[0].fail(ValueError("penguin-pass"))
        assert [outcome.reason for outcome in outcomes] == [Reason.INTERNAL_ERROR]

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert "ValueError" in caplog.text
    assert "penguin-pass" not in caplog.text
    assert "test_auth.py" in caplog.text
