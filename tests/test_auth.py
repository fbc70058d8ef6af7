from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pysaslauthd import auth
from pysaslauthd.auth import Authenticator
from pysaslauthd.cache import Cache, Origin
from pysaslauthd.flow import Reply
from pysaslauthd.freshness import Coverage
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict
from pysaslauthd.questions import MAX_CHECKS
from pysaslauthd.throttle import Throttle
from rig.clock import Clock as Moved

GOOD = AuthRequest(b"penguin@hoge.cxm", b"penguin-pass", b"smtp")


class Directory:
    """A mechanism whose answers the test gives by hand."""

    def __init__(self) -> None:
        self.asked: list[tuple[Identity, bytes]] = []
        self.replies: list[Reply[Outcome]] = []

    def key(self, identity: Identity) -> bytes:
        return rig_key(identity.user, identity.domain)

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        self.asked.append((identity, password))
        reply: Reply[Outcome] = Reply()
        self.replies.append(reply)
        return await reply


class Rig:
    def __init__(self, **options: Any) -> None:
        self.directory = Directory()
        self.reports: list[tuple[AuthRequest, Identity, Outcome, float]] = []
        self.reported = asyncio.Event()
        self.authenticator = Authenticator(self.directory, self.report, **options)

    def report(self, request: AuthRequest, identity: Identity, outcome: Outcome, seconds: float) -> None:
        self.reports.append((request, identity, outcome, seconds))
        self.reported.set()

    def ask(self, request: AuthRequest = GOOD) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self.authenticator.authenticate(request, outcomes.append)
        return outcomes

    def refuse(self, request: AuthRequest = GOOD, reason: Reason = Reason.WRONG_PASSWORD) -> list[Outcome]:
        """Ask, and let the directory refuse."""
        outcomes = self.ask(request)
        self.directory.replies[-1].set(Outcome(reason))
        return outcomes

    async def all_told(self, count: int) -> None:
        """Wait until so many requests have been answered."""
        async with asyncio.timeout(60):
            while len(self.reports) < count:
                self.reported.clear()
                await self.reported.wait()

    async def refused_later(self, request: AuthRequest) -> Outcome:
        """Ask, let the directory refuse, wait for the answer."""
        deciding = asyncio.ensure_future(self.authenticator.decide(request))
        await asyncio.sleep(0)
        self.directory.replies[-1].set(Outcome(Reason.WRONG_PASSWORD))
        await asyncio.sleep(0)
        assert not deciding.done(), "not delayed"
        return await deciding


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def guesses(count: int, remote: bytes = b"") -> list[AuthRequest]:
    return [GOOD._replace(password=b"guess %d" % number, remote=remote) for number in range(count)]


def rig_key(user: bytes, domain: bytes = b"") -> bytes:
    return b"%b\0%b" % (user, domain)


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
    clock = Moved()
    rig = Rig(deadline=3)
    first = asyncio.create_task(rig.authenticator.decide(GOOD))
    await asyncio.sleep(0)
    clock.move(2)
    second = asyncio.create_task(rig.authenticator.decide(GOOD._replace(login=b"u1")))
    await asyncio.sleep(0)
    clock.move(2)
    assert (await first).reason is Reason.DEADLINE
    assert not second.done()
    rig.directory.replies[1].set(Outcome(Reason.OK))
    assert (await second).reason is Reason.OK


@on_loop
async def test_too_many_logins_are_unavailable_at_once_and_the_cache_goes_on() -> None:
    cache = Cache(10, 3600)
    cache.store(rig_key(b"u0"), b"cached", Origin(b"u0"), cache.moment())
    rig = Rig(max_questions=100, cache=cache)
    for number in range(100):
        assert rig.ask(GOOD._replace(login=b"u%d" % number)) == []
    assert [outcome.reason for outcome in rig.ask()] == [Reason.OVERLOADED]
    assert rig.ask(GOOD._replace(login=b"u0", password=b"cached")) == [Outcome(Reason.OK, cached=True)]
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


# Refusals of guesses are held back


@on_loop
async def test_the_first_refusals_are_told_at_once_the_next_are_held_back() -> None:
    rig = Rig(throttle=Throttle(free=3, longest=0.01))
    for request in guesses(3):
        assert [outcome.reason for outcome in rig.refuse(request)] == [Reason.WRONG_PASSWORD]
    outcome = await rig.refused_later(guesses(4)[-1])
    assert outcome == Outcome(Reason.WRONG_PASSWORD, "delayed")
    assert [outcome.detail for _, _, outcome, _ in rig.reports] == ["", "", "", "delayed"]
    assert rig.reports[-1][3] >= 0.01
    assert rig.authenticator.delayed == 1


@on_loop
async def test_the_right_password_is_never_held_back() -> None:
    rig = Rig(throttle=Throttle(free=0, free_per_address=0), cache=Cache(10, 3600))
    for request in guesses(30, b"192.0.2.7"):
        assert rig.refuse(request) == []
    for _ in range(2):
        outcomes = rig.ask(GOOD._replace(remote=b"192.0.2.7"))
        if not outcomes:
            rig.directory.replies[-1].set(Outcome(Reason.OK))
        assert [outcome.reason for outcome in outcomes] == [Reason.OK]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.verdict is Verdict.UNAVAILABLE])
def test_what_is_unavailable_neither_counts_nor_waits(reason: Reason) -> None:
    async def main() -> None:
        rig = Rig(throttle=Throttle(free=0, free_per_address=0))
        for request in guesses(10, b"192.0.2.7"):
            assert [outcome.reason for outcome in rig.refuse(request, reason)] == [reason]
        assert rig.authenticator.delayed == 0

    asyncio.run(main())


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_USER, Reason.LOCKED, Reason.NOT_IN_GROUP])
def test_every_refusal_of_the_directory_waits_alike_so_that_none_is_told_by_its_time(reason: Reason) -> None:
    async def main() -> None:
        rig = Rig(throttle=Throttle(free=0))
        assert rig.refuse(GOOD, reason) == []

    asyncio.run(main())


@on_loop
async def test_a_login_that_must_not_be_asked_does_not_count() -> None:
    rig = Rig(throttle=Throttle(free=0))
    for _ in range(10):
        assert len(rig.ask(GOOD._replace(password=b""))) == 1


@on_loop
async def test_a_success_at_the_directory_starts_the_count_anew() -> None:
    rig = Rig(throttle=Throttle(free=2))
    for request in guesses(2):
        assert len(rig.refuse(request)) == 1
    rig.ask()
    rig.directory.replies[-1].set(Outcome(Reason.OK))
    assert len(rig.refuse(GOOD._replace(password=b"mistyped"))) == 1


@on_loop
async def test_a_refusal_is_told_before_the_deadline_whatever_the_delay() -> None:
    clock = Moved()
    rig = Rig(throttle=Throttle(free=0, longest=3), deadline=auth.DELAY_MARGIN + 0.02)
    for delayed, request in enumerate(guesses(3), 1):
        refused = asyncio.create_task(rig.refused_later(request))
        while rig.authenticator.delayed < delayed:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        clock.move(0.021)
        assert (await refused).reason is Reason.WRONG_PASSWORD
    assert max(seconds for *_, seconds in rig.reports) < auth.DELAY_MARGIN + 0.02


@on_loop
async def test_where_no_time_is_left_a_refusal_is_told_at_once() -> None:
    rig = Rig(throttle=Throttle(free=0), deadline=auth.DELAY_MARGIN)
    assert [outcome.reason for outcome in rig.refuse()] == [Reason.WRONG_PASSWORD]
    assert rig.authenticator.delayed == 0


@on_loop
async def test_past_the_bound_of_those_held_back_a_refusal_is_told_at_once() -> None:
    rig = Rig(throttle=Throttle(free=0, longest=0.01))
    held = [rig.refuse(request) for request in guesses(auth.MAX_DELAYED)]
    assert not any(held)
    last = GOOD._replace(password=b"one more")
    assert [outcome.reason for outcome in rig.refuse(last)] == [Reason.WRONG_PASSWORD]
    assert rig.authenticator.delayed == auth.MAX_DELAYED
    await rig.all_told(auth.MAX_DELAYED + 1)
    assert len(held[0]) == len(held[-1]) == 1
    await rig.refused_later(last)


def test_the_log_tells_once_when_the_delays_set_in(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rig = Rig(throttle=Throttle(free=2, free_per_address=3))
        for request in guesses(6, b"192.0.2.7;25"):
            rig.refuse(request._replace(login=b"pen[guin@hoge.cxm"))

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        r"many wrong passwords for [user=pen\x5bguin@hoge.cxm]: refusals are delayed from now on",
        "many wrong passwords from [remote=192.0.2.7;25]: refusals are delayed from now on",
    ]


# While no directory answers

NO_ANSWER = [Reason.DIRECTORY_DOWN, Reason.DIRECTORY_TIMEOUT, Reason.SERVICE_BIND_REFUSED, Reason.DEADLINE]


def past_its_lifetime(**options: Any) -> Rig:
    """The password of ``GOOD`` was accepted, and its cache entry's lifetime has just ended."""
    clock = Clock()
    cache = Cache(10, 3600, clock=clock, **options)
    cache.store(rig_key(b"penguin", b"hoge.cxm"), GOOD.password, Origin(GOOD.login), cache.moment())
    clock.now = 3600.0
    return Rig(cache=cache, throttle=Throttle())


@pytest.mark.parametrize("reason", NO_ANSWER)
def test_while_no_directory_answers_an_entry_past_its_lifetime_does(
    reason: Reason, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        rig = past_its_lifetime(stale=600)
        for count in (1, 2):
            outcomes = rig.refuse(GOOD, reason)
            assert outcomes == [Outcome(Reason.OK, f"stale, {reason.value}", cached=True)]
            assert len(rig.directory.asked) == count, "the directory is asked each time"
        assert rig.authenticator.stale == 2

        assert [outcome.reason for outcome in rig.refuse(GOOD._replace(password=b"wrong"), reason)] == [reason]
        assert [outcome.reason for outcome in rig.refuse(GOOD._replace(login=b"other"), reason)] == [reason]
        rig.ask()
        rig.directory.replies[-1].set(Outcome(Reason.OK))
        assert rig.ask() == [Outcome(Reason.OK, cached=True)]

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "no directory answers: cached logins are accepted past their lifetime (cache_stale)",
        "the directory answers again",
    ]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.OK, *NO_ANSWER)])
def test_any_other_outcome_is_told_as_it_is(reason: Reason) -> None:
    async def main() -> None:
        rig = past_its_lifetime(stale=600)
        assert [outcome.reason for outcome in rig.refuse(GOOD, reason)] == [reason]
        assert rig.authenticator.stale == 0

    asyncio.run(main())


@on_loop
async def test_a_hung_directory_is_waited_for_until_the_deadline() -> None:
    rig = past_its_lifetime(stale=600)
    rig.authenticator._deadline = 0.01
    assert await rig.authenticator.decide(GOOD) == Outcome(Reason.OK, "stale, deadline", cached=True)


@on_loop
async def test_by_default_nothing_is_accepted_past_its_lifetime() -> None:
    rig = past_its_lifetime()
    assert [outcome.reason for outcome in rig.refuse(GOOD, Reason.DIRECTORY_DOWN)] == [Reason.DIRECTORY_DOWN]


@on_loop
async def test_a_password_that_the_directory_refuses_is_out_of_the_cache_and_no_other_is() -> None:
    rig = past_its_lifetime(stale=600)
    rig.refuse(GOOD._replace(password=b"wrong"))
    assert rig.refuse(GOOD, Reason.DIRECTORY_DOWN)[0].reason is Reason.OK
    rig.refuse(GOOD)
    assert rig.refuse(GOOD, Reason.DIRECTORY_DOWN)[0].reason is Reason.DIRECTORY_DOWN


@on_loop
async def test_cached_logins_go_on_at_once_while_the_directory_is_down() -> None:
    rig = Rig(cache=Cache(10, 3600))
    rig.ask()
    rig.directory.replies[0].set(Outcome(Reason.OK))
    for number in range(50):
        assert rig.ask(GOOD._replace(login=b"u%d" % number)) == []  # hung
        rig.refuse(GOOD._replace(login=b"v%d" % number), Reason.DIRECTORY_DOWN)
        assert rig.ask() == [Outcome(Reason.OK, cached=True)]


@on_loop
async def test_a_flush_forgets_one_person_however_typed() -> None:
    cache = Cache(10, 3600)
    rig = Rig(cache=cache, default_realm=b"hoge.cxm")
    same = [
        GOOD,
        GOOD._replace(login=b"penguin"),
        GOOD._replace(login=b"penguin", realm=b"hoge.cxm"),
        GOOD._replace(login=b"PENGUIN@Hoge.Cxm"),
    ]
    for flushed in same:
        for asked in [*same, GOOD._replace(login=b"u0@hoge.cxm"), GOOD._replace(login=b"penguin@iloli.bg")]:
            rig.ask(asked)
            rig.directory.replies[-1].set(Outcome(Reason.OK))
        assert len(cache) == 4
        assert rig.authenticator.flush(flushed.login, flushed.realm) == 2
        assert len(cache) == 2
    assert rig.authenticator.flush_all() == 2
    assert len(cache) == 0


@on_loop
async def test_what_was_asked_before_a_flush_is_not_remembered_after_it() -> None:
    cache = Cache(10, 3600)
    rig = Rig(cache=cache)
    outcomes = rig.ask()
    assert rig.authenticator.flush(GOOD.login) == 0
    rig.directory.replies[-1].set(Outcome(Reason.OK))
    assert outcomes == [Outcome(Reason.OK)]
    assert len(cache) == 0
    rig.ask()
    rig.directory.replies[-1].set(Outcome(Reason.OK))
    assert len(cache) == 1


@on_loop
async def test_without_a_cache_there_is_nothing_to_flush() -> None:
    rig = Rig()
    assert (rig.authenticator.flush(GOOD.login), rig.authenticator.flush_all()) == (0, 0)


@on_loop
async def test_it_is_idle_once_the_last_question_is_answered() -> None:
    rig = Rig()
    await rig.authenticator.idle()
    told = rig.ask() + rig.ask(GOOD._replace(login=b"u0"))
    assert rig.authenticator.pending == 2
    waiting = asyncio.ensure_future(rig.authenticator.idle())
    for reply in rig.directory.replies:
        await asyncio.sleep(0)
        assert not waiting.done()
        reply.set(Outcome(Reason.OK))
    await waiting
    assert (rig.authenticator.pending, len(told)) == (0, 0)


@on_loop
async def test_a_question_past_its_deadline_is_no_longer_waited_for() -> None:
    rig = Rig(deadline=0.05)
    outcomes = rig.ask()
    async with asyncio.timeout(60):
        await rig.authenticator.idle()
    assert [outcome.reason for outcome in outcomes] == [Reason.DEADLINE]


@on_loop
async def test_equal_logins_wait_within_the_same_bound() -> None:
    rig = Rig(max_questions=10, deadline=0.01)
    for _ in range(3):
        waiting = [rig.ask() for _ in range(10)]
        assert [outcome.reason for outcome in rig.ask()] == [Reason.OVERLOADED]
        rig.directory.replies[-1].set(Outcome(Reason.OK))
        assert waiting == [[Outcome(Reason.OK)]] * 10
    hung = [rig.ask() for _ in range(10)]
    await rig.all_told(3 * 11 + 10)
    assert [outcome.reason for (outcome,) in hung] == [Reason.DEADLINE] * 10
    assert rig.ask() == [], "the places have come back"


# Changes and checks


def accepted(*names: bytes) -> Outcome:
    return Outcome(Reason.OK, names=names)


def revalidating(clock: Clock) -> Rig:
    cache = Cache(1000, 3600, clock=clock)
    cache.cover("", Coverage(revalidate=60, clock=clock))
    return Rig(cache=cache)


@on_loop
async def test_who_asks_after_a_change_does_not_share_what_was_asked_before_it() -> None:
    cache = Cache(10, 3600)
    cache.cover("", Coverage(grace=10)).watched()
    rig = Rig(cache=cache)
    before = [*rig.ask(), *rig.ask()]
    assert len(rig.directory.asked) == 1
    cache.changed((b"uid=penguin",))
    after = rig.ask()
    assert len(rig.directory.asked) == 2
    rig.directory.replies[0].set(accepted(b"uid=penguin"))
    assert before == []
    assert after == []
    assert len(rig.reports) == 2
    assert not cache.holds(rig_key(b"penguin", b"hoge.cxm"), GOOD.password)
    rig.directory.replies[1].set(Outcome(Reason.WRONG_PASSWORD))
    assert [outcome.reason for outcome in after] == [Reason.WRONG_PASSWORD]
    assert rig.authenticator.pending == 0


@on_loop
async def test_a_hit_that_is_due_is_answered_at_once_and_checked_behind() -> None:
    clock = Clock()
    rig = revalidating(clock)
    rig.ask()
    rig.directory.replies[0].set(accepted())
    clock.now = 59
    assert [outcome.cached for outcome in rig.ask()] == [True]
    assert len(rig.directory.asked) == 1
    clock.now = 60
    assert [outcome.cached for outcome in [*rig.ask(), *rig.ask()]] == [True, True]
    assert len(rig.directory.asked) == 2, "checked once"
    rig.directory.replies[1].set(accepted())
    clock.now = 119
    rig.ask()
    assert len(rig.directory.asked) == 2


def test_a_changed_password_is_out_at_the_login_after_the_check(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        caplog.set_level(logging.INFO)
        clock = Clock()
        rig = revalidating(clock)
        rig.ask()
        rig.directory.replies[0].set(accepted())
        clock.now = 60
        rig.ask()
        rig.directory.replies[1].set(Outcome(Reason.WRONG_PASSWORD))
        assert "a cached login holds no more: [user=penguin@hoge.cxm] [reason=wrong-password]" in caplog.text
        assert rig.ask() == []
        assert len(rig.directory.asked) == 3
        assert len(rig.reports) == 2, "a check is nobody's login"

    asyncio.run(main())


def test_a_check_without_an_answer_changes_nothing_and_is_not_repeated_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        clock = Clock()
        rig = revalidating(clock)
        rig.ask()
        rig.directory.replies[0].set(accepted())
        clock.now = 60
        rig.ask()
        rig.directory.replies[1].set(Outcome(Reason.DIRECTORY_DOWN))
        assert [outcome.cached for outcome in rig.ask()] == [True]
        assert len(rig.directory.asked) == 2
        monkeypatch.setattr(rig.authenticator._revalidation, "_resume", 0.0)
        rig.ask()
        assert len(rig.directory.asked) == 3
        rig.directory.replies[2].fail(ValueError("a fault"))
        assert [outcome.cached for outcome in rig.ask()] == [True]

    asyncio.run(main())


@on_loop
async def test_no_more_checks_than_the_bound_are_under_way() -> None:
    clock = Clock()
    rig = revalidating(clock)
    people = [GOOD._replace(login=b"u%d@hoge.cxm" % number) for number in range(MAX_CHECKS + 5)]
    for person in people:
        rig.ask(person)
        rig.directory.replies[-1].set(accepted())
    clock.now = 60
    asked = len(rig.directory.asked)
    assert all(rig.ask(person)[0].cached for person in people)
    assert len(rig.directory.asked) - asked == MAX_CHECKS
    rig.directory.replies[-1].set(accepted())
    rig.ask(people[-1])
    assert len(rig.directory.asked) - asked == MAX_CHECKS + 1
