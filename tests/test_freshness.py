"""Until when an answer of the directory is trusted."""

from __future__ import annotations

import math

from pysaslauthd.freshness import Coverage


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_while_it_is_watched_over_an_answer_does_not_lapse() -> None:
    watched = Coverage(grace=2, clock=Clock())
    watched.watched()
    assert watched.trusts(100)
    assert watched.lapsed(100) == math.inf


def test_without_a_watch_it_lapses_after_the_grace() -> None:
    clock = Clock()
    lost = Coverage(grace=2, clock=clock)
    lost.watched()
    lost.lost()
    clock.now = 101
    assert (lost.trusts(100), lost.lapsed(100)) == (True, 102)
    clock.now = 103
    assert (lost.trusts(100), lost.lapsed(100)) == (False, 102)
    assert (lost.trusts(90), lost.lapsed(90)) == (False, 100)


def test_what_was_asked_before_the_watch_came_back_lapsed_then() -> None:
    clock = Clock()
    back = Coverage(grace=2, clock=clock)
    clock.now = 105
    back.watched()
    assert (back.trusts(104), back.lapsed(104)) == (False, 105)
    assert back.trusts(105)
