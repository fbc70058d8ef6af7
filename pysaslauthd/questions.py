"""Questions under way: those that clients wait for, and those about cached logins, which were answered at once."""

from __future__ import annotations

from collections.abc import Callable

from pysaslauthd.flow import Flow, run
from pysaslauthd.freshness import Moment
from pysaslauthd.model import AuthRequest, Identity, Outcome, Verdict

MAX_CHECKS = 64
"""Checks under way at once, so that many entries that fall due together do not stand before those who wait for an
answer. An entry that finds no place is checked at its next login."""
PAUSE = 1.0
"""Seconds without checks after one that got no answer."""

Question = tuple[bytes, bytes]
"""A key of the cache, and a password."""
DatedQuestion = tuple[bytes, bytes, int]
"""The same, and the number of the last change that had been told of (:class:`~pysaslauthd.freshness.Moment`)."""
Waiting = tuple[AuthRequest, Identity, float, Callable[[Outcome], None]]
"""A request that waits, who is meant, when it began, and what to call."""


class Asked:
    """One question, and the requests that wait for its answer.

    :param question: what was asked, and after which change.
    :param deadline: when they are answered at the latest, on the event loop's clock.
    :param moment: when the mechanism was asked; None without a cache.
    :param first: of those who wait.
    """

    __slots__ = ("deadline", "identity", "moment", "question", "waiting")

    def __init__(
        self, question: DatedQuestion, identity: Identity, deadline: float, moment: Moment | None, first: Waiting
    ) -> None:
        self.question = question
        self.identity = identity
        self.deadline = deadline
        self.moment = moment
        self.waiting = [first]


class Revalidation:
    """Asks about cached logins.

    :param check: the mechanism's.
    :param checked: takes what came of it, an outcome or a fault of the program, and says the verdict.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        check: Callable[[Identity, bytes], Flow[Outcome]],
        checked: Callable[[Question, Identity, Moment, Outcome | None, BaseException | None], Verdict],
        clock: Callable[[], float],
    ) -> None:
        self._check = check
        self._checked = checked
        self._clock = clock
        self._under_way: set[Question] = set()
        self._resume = 0.0

    def begin(self, question: Question, identity: Identity, asked: Moment) -> None:
        """Ask, unless the same is being asked, or too much is."""
        under_way = self._under_way
        if question in under_way or len(under_way) >= MAX_CHECKS or self._clock() < self._resume:
            return
        under_way.add(question)

        def then(outcome: Outcome | None, error: BaseException | None) -> None:
            under_way.discard(question)
            if self._checked(question, identity, asked, outcome, error) is Verdict.UNAVAILABLE:
                self._resume = self._clock() + PAUSE

        run(self._check(identity, question[1]), then)
