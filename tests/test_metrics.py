from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.metrics import BOUNDS, Histogram, Metrics
from pysaslauthd.model import Outcome, Reason, Verdict

CACHED = Outcome(Reason.OK, cached=True)
WRONG = Outcome(Reason.WRONG_PASSWORD)


def test_a_login_is_counted_under_its_door_and_reason_and_timed_under_its_verdict() -> None:
    metrics = Metrics()
    metrics.login("mux", CACHED, 0.00005)
    metrics.login("mux", Outcome(Reason.OK), 0.003)
    metrics.login("dovecot", WRONG, 0.004)
    metrics.login("dovecot", WRONG, 0.004)
    counted = {(door, reason): count for door, reason, count in metrics.logins() if count}
    assert counted == {("mux", Reason.OK): 2, ("dovecot", Reason.WRONG_PASSWORD): 2}
    timed = {group: sum(each.counts) for group, each in metrics.login_seconds.items() if any(each.counts)}
    assert timed == {(Verdict.ACCEPTED, True): 1, (Verdict.ACCEPTED, False): 1, (Verdict.REJECTED, False): 2}
    assert metrics.login_seconds[Verdict.REJECTED, False].total == pytest.approx(0.008)


def test_every_door_and_reason_is_there_from_the_start() -> None:
    counted = list(Metrics().logins())
    assert {(door, reason) for door, reason, _ in counted} == {
        (door, reason) for door in ("mux", "dovecot") for reason in Reason
    }
    assert all(count == 0 for _, _, count in counted)


def test_the_cache_has_hit_what_it_answered_and_missed_what_it_was_asked() -> None:
    metrics = Metrics()
    for outcome in (CACHED, CACHED, Outcome(Reason.OK), WRONG, Outcome(Reason.DIRECTORY_DOWN)):
        metrics.login("mux", outcome, 0.001)
    for reason in (Reason.EMPTY_LOGIN, Reason.EMPTY_PASSWORD, Reason.NUL_IN_LOGIN, Reason.NUL_IN_PASSWORD):
        metrics.login("mux", Outcome(reason), 0.001)
    assert (metrics.cache_hits, metrics.cache_misses) == (2, 3)


def test_an_operation_is_timed_by_its_name_and_whether_it_was_answered() -> None:
    metrics = Metrics()
    metrics.operation("search", 0.002, True)
    metrics.operation("search", 2.0, False)
    timed = {group: each.total for group, each in metrics.operation_seconds.items() if any(each.counts)}
    assert timed == {("search", True): 0.002, ("search", False): 2.0}


@given(st.lists(st.floats(0, 100)))
def test_a_duration_is_counted_once_under_the_least_bound_that_it_does_not_exceed(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    for position, bound in enumerate(BOUNDS):
        assert sum(histogram.counts[: position + 1]) == sum(seconds <= bound for seconds in durations)
    assert sum(histogram.counts) == len(durations)
    assert histogram.total == pytest.approx(sum(durations))


def test_counting_a_login_costs_next_to_nothing() -> None:
    metrics = Metrics()
    least = min(_seconds_of_a_thousand(metrics) for _ in range(50))
    assert least / 1000 < 5e-6  # some 0.4 µs; slower machines, tracing and coverage included


def _seconds_of_a_thousand(metrics: Metrics) -> float:
    began = time.perf_counter()
    for _ in range(1000):
        metrics.login("mux", CACHED, 0.00005)
    return time.perf_counter() - began
