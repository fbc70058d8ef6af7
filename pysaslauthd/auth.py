"""The decision on a login: refuse what must not be asked, know who is meant, cache, ask once, answer in time,
hold up who guesses.

:meth:`Authenticator.authenticate` answers at once where it can (a refusal, a cache hit) and otherwise calls
back, so that the common case of a door is one plain call; :meth:`Authenticator.decide` is its awaitable face.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pysaslauthd.cache import Cache, Origin
from pysaslauthd.errors import fault
from pysaslauthd.flow import Flow, run
from pysaslauthd.freshness import Moment
from pysaslauthd.log import escape
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict, identify, refused_unasked
from pysaslauthd.questions import Asked, DatedQuestion, Question, Revalidation
from pysaslauthd.throttle import Delay, Throttle

logger = logging.getLogger(__name__)

DEADLINE = 4.0
"""Seconds within which every request is answered: the least patient client waits 5 s (Authen::SASL::Authd)."""
MAX_QUESTIONS = 4096
"""Logins that ask the directory at once at most, about 2 kB each; beyond, a login is UNAVAILABLE at once."""
MAX_DELAYED = 1024
"""Refusals that are held back at once, each with its client's connection: a quarter of the connections of a socket.
Beyond, a refusal is told at once; it is true, and holding more back would keep out those who know their password."""
DELAY_MARGIN = 0.2
"""Seconds before the deadline at which a refusal is told at the latest."""

_NO_ANSWER = frozenset({Reason.DIRECTORY_DOWN, Reason.DIRECTORY_TIMEOUT, Reason.SERVICE_BIND_REFUSED, Reason.DEADLINE})
"""What lets an entry past its lifetime answer. Not what a directory may have said about the user (a result code that
is not known, a stored hash that cannot be checked), and not what a client can bring about by asking a lot."""

_ACCEPTED, _REJECTED, _UNAVAILABLE = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.UNAVAILABLE  # a look-up is slow
_CACHED = Outcome(Reason.OK, cached=True)

Then = Callable[[Outcome], None]
Report = Callable[[AuthRequest, Identity, Outcome, float], None]


class Mechanism(Protocol):
    """What decides on a password."""

    def key(self, identity: Identity) -> bytes:
        """Equal for two identities exactly if the same question would be asked about them."""

    def check(self, identity: Identity, password: bytes) -> Flow[Outcome]:
        """Decide; a flow (:mod:`pysaslauthd.flow`)."""


class Authenticator:
    """Decides on logins. Lives on the event loop's thread.

    :param report: called once for each request with its outcome and the seconds it took.
    :param cache: None asks the mechanism every time.
    :param throttle: None delays no refusal.
    :param default_realm: the realm where a request has none.
    :param append_realm: saslauthd's ``-r``.
    :param deadline: seconds.
    :param max_questions: bound on the logins that ask the mechanism, each counted, also where several ask the same.

    ``delayed`` counts the refusals that were held back, ``stale`` the logins accepted past a cache entry's lifetime.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        report: Report,
        *,
        cache: Cache | None = None,
        throttle: Throttle | None = None,
        default_realm: bytes = b"",
        append_realm: bool = False,
        deadline: float = DEADLINE,
        max_questions: int = MAX_QUESTIONS,
    ) -> None:
        self.delayed = 0
        self.stale = 0
        self._mechanism = mechanism
        self._report = report
        self._cache = cache
        self._throttle = throttle
        self._default_realm = default_realm
        self._append_realm = append_realm
        self._deadline = deadline
        self._max_questions = max_questions
        self._pending = 0
        self._loop = asyncio.get_running_loop()
        self._questions: dict[DatedQuestion, Asked] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._held_back = 0
        self._beyond_lifetime = False
        self._idle: asyncio.Future[None] | None = None
        self._revalidation = Revalidation(mechanism.check, self._checked, self._loop.time)

    def authenticate(self, request: AuthRequest, then: Then) -> None:
        """Decide on a request; call ``then`` exactly once with the outcome, perhaps before returning.

        Never raises. ``then`` must not raise.
        """
        started = self._loop.time()
        identity = identify(request, default_realm=self._default_realm, append_realm=self._append_realm)
        refusal = refused_unasked(request, identity)
        if refusal is not None:
            self._answer(request, identity, started, then, Outcome(refusal))
            return
        key = self._mechanism.key(identity)
        if self._cache is not None and self._cache.holds(key, request.password):
            self._answer(request, identity, started, then, _CACHED)
            if self._cache.due(key):
                self._revalidation.begin((key, request.password), identity, self._cache.moment())
            return
        self._ask(key, request, identity, started, then)

    async def decide(self, request: AuthRequest) -> Outcome:
        """The same for an asyncio coroutine."""
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self.authenticate(request, lambda decided: None if outcome.done() else outcome.set_result(decided))
        return await outcome

    @property
    def pending(self) -> int:
        """Questions under way."""
        return len(self._questions)

    @property
    def held_back(self) -> int:
        """Refusals that wait to be told."""
        return self._held_back

    async def idle(self) -> None:
        """Wait until no question is under way; no longer than the deadline where nothing new is asked."""
        while self._questions:
            self._idle = self._loop.create_future()
            await self._idle

    def flush(self, login: bytes, realm: bytes = b"") -> int:
        """Forget the cached logins of one person, whichever way it is typed here and was typed there.

        Upper and lower case are one; what is being asked of the directory now is not remembered either.

        :return: entries forgotten. A person has several where the templates tell services or spellings apart.
        """
        if self._cache is None:
            return 0
        request = AuthRequest(login, b"", realm=realm)
        identity = identify(request, default_realm=self._default_realm, append_realm=self._append_realm)
        address = identity.address.lower()
        return self._cache.drop(lambda whose: whose.lower() == address)

    def flush_all(self) -> int:
        """Forget every cached login; how many there were."""
        return 0 if self._cache is None else self._cache.drop(lambda _: True)

    def _ask(self, key: bytes, request: AuthRequest, identity: Identity, started: float, then: Then) -> None:
        """Ask the mechanism, or wait with whoever is asking the same already."""
        if self._pending >= self._max_questions:
            self._answer(request, identity, started, then, Outcome(Reason.OVERLOADED))
            return
        self._pending += 1
        moment = self._cache.moment() if self._cache is not None else None
        # Who asks after a change must not be answered by what was asked before it.
        question = (key, request.password, moment.number if moment is not None else 0)
        asked = self._questions.get(question)
        if asked is not None:
            asked.waiting.append((request, identity, started, then))
            return
        deadline = started + self._deadline
        asked = Asked(question, identity, deadline, moment, (request, identity, started, then))
        self._questions[question] = asked
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)
        run(self._mechanism.check(identity, request.password), partial(self._settle, asked))

    def _expire(self) -> None:
        """Answer what has waited too long. All deadlines are alike, so that the oldest question is the first."""
        self._timer = None
        now = self._loop.time()
        for asked in list(self._questions.values()):
            if asked.deadline > now:
                self._timer = self._loop.call_at(asked.deadline, self._expire)
                break
            self._settle(asked, Outcome(Reason.DEADLINE, f"no answer within {self._deadline:g} s"))

    def _settle(self, asked: Asked, outcome: Outcome | None, error: BaseException | None = None) -> None:
        """Remember what was learned, which is true even past the deadline, and answer whoever still waits."""
        if outcome is None:
            outcome = _internal_error(error)
        question = asked.question
        if self._questions.get(question) is asked:  # else its deadline has passed
            del self._questions[question]
        cache, (key, password, _) = self._cache, question
        waiting, asked.waiting = asked.waiting, []
        self._pending -= len(waiting)
        verdict = outcome.reason.verdict  # not outcome's own, which is a call
        if verdict is not _UNAVAILABLE:
            if asked.moment is not None:
                self._learn(asked, asked.moment, outcome)
            if verdict is _ACCEPTED and self._throttle is not None:
                self._throttle.succeeded(key)
        elif waiting and outcome.reason in _NO_ANSWER and cache is not None and cache.holds_stale(key, password):
            outcome = self._past_lifetime(len(waiting), outcome)
        throttle = self._throttle if verdict is _REJECTED else None
        for request, identity, started, then in waiting:
            if throttle is None:
                self._answer(request, identity, started, then, outcome)
            else:
                delay = throttle.failed(key, request.password, request.remote, identity.address)
                self._refuse(delay, request, identity, started, then, outcome)
        if self._idle is not None and not self._questions and not self._idle.done():
            self._idle.set_result(None)

    def _learn(self, asked: Asked, moment: Moment, outcome: Outcome) -> None:
        if self._beyond_lifetime:
            self._beyond_lifetime = False
            logger.info("the directory answers again")
        self._remember(asked.question[:2], asked.identity, moment, outcome)

    def _remember(self, question: Question, identity: Identity, moment: Moment, outcome: Outcome) -> None:
        cache = self._cache
        if cache is not None and outcome.verdict is _REJECTED:
            cache.forget(*question)
        elif cache is not None and outcome.verdict is _ACCEPTED:
            origin = Origin(identity.address, outcome.names, outcome.directory)
            cache.store(*question, origin, moment)

    def _checked(
        self,
        question: Question,
        identity: Identity,
        moment: Moment,
        outcome: Outcome | None,
        error: BaseException | None,
    ) -> Verdict:
        """Take what a check behind the scenes brought, which no client waits for."""
        if outcome is None:
            outcome = _internal_error(error)
        if outcome.verdict is Verdict.REJECTED:
            who, why = escape(identity.address), outcome.reason.value
            logger.info("a cached login holds no more: [user=%s] [reason=%s]", who, why)
        self._remember(question, identity, moment, outcome)
        return outcome.verdict

    def _past_lifetime(self, logins: int, outcome: Outcome) -> Outcome:
        """The outcome where no directory answers and an entry past its lifetime does."""
        if not self._beyond_lifetime:
            self._beyond_lifetime = True
            logger.warning("no directory answers: cached logins are accepted past their lifetime (cache_stale)")
        self.stale += logins
        return Outcome(Reason.OK, f"stale, {outcome.reason.value}", cached=True)

    def _refuse(
        self, delay: Delay, request: AuthRequest, identity: Identity, started: float, then: Then, outcome: Outcome
    ) -> None:
        """Tell a refusal, at once or as late as the delay says and the deadline allows."""
        if delay.user:
            _say_delayed("for [user", identity.address)
        if delay.address:
            _say_delayed("from [remote", request.remote)
        seconds = min(delay.seconds, started + self._deadline - DELAY_MARGIN - self._loop.time())
        if seconds <= 0 or self._held_back >= MAX_DELAYED:
            self._answer(request, identity, started, then, outcome)
            return
        self.delayed += 1
        self._held_back += 1
        detail = f"{outcome.detail}, delayed" if outcome.detail else "delayed"
        outcome = outcome._replace(detail=detail)
        self._loop.call_later(seconds, self._answer_late, request, identity, started, then, outcome)

    def _answer_late(
        self, request: AuthRequest, identity: Identity, started: float, then: Then, outcome: Outcome
    ) -> None:
        self._held_back -= 1
        self._answer(request, identity, started, then, outcome)

    def _answer(self, request: AuthRequest, identity: Identity, started: float, then: Then, outcome: Outcome) -> None:
        then(outcome)
        self._report(request, identity, outcome, self._loop.time() - started)


def _say_delayed(whose: str, name: bytes) -> None:
    logger.warning("many wrong passwords %s=%s]: refusals are delayed from now on", whose, escape(name))


def _internal_error(error: BaseException | None) -> Outcome:
    if error is not None:  # pragma: no branch - a flow without a value has an error
        logger.error(fault(error))
    return Outcome(Reason.INTERNAL_ERROR, type(error).__name__)
