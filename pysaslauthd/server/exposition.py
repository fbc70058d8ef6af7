"""The metrics in Prometheus' text format. Needs the extra ``metrics``: prometheus-client writes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.watch_state import RealmWatch
from pysaslauthd.metrics import BOUNDS, Fault, Histogram, Metrics
from pysaslauthd.model import Door

KEEP_SECONDS = 1.0
"""How long a text is served again before the next is made, which takes some milliseconds of the event loop: however
many ask, logins lose no more than that."""


class CacheState(NamedTuple):
    """How full the cache is."""

    entries: int
    most: int


class Readings(NamedTuple):
    """What is read from the daemon's parts when metrics are asked for."""

    version: str
    cache: CacheState | None
    in_flight: int
    """Questions to the directory."""
    held_back: int
    """Refusals."""
    delayed: int
    """Refusals that have been held back since the start."""
    stale: int
    """Logins accepted past a cache entry's lifetime."""
    servers: Sequence[ServerState]
    failovers: int
    watches: Sequence[RealmWatch]
    connections: Mapping[Door, int]
    faults: Mapping[tuple[Door, Fault], int]
    lines_lost: int


class Exposition:
    """Makes the text.

    :param read: gives the readings now.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self, metrics: Metrics, read: Callable[[], Readings], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Source(metrics, read))
        ProcessCollector(registry=self._registry)
        self._clock = clock
        self._text = b""
        self._until = clock()

    def text(self) -> bytes:
        """The metrics, at most ``KEEP_SECONDS`` old, in the text format 0.0.4."""
        now = self._clock()
        if now >= self._until:
            self._text = generate_latest(self._registry)
            self._until = now + KEEP_SECONDS
        return self._text


class _Source(Collector):
    def __init__(self, metrics: Metrics, read: Callable[[], Readings]) -> None:
        self._metrics = metrics
        self._read = read

    def collect(self) -> Iterator[Metric]:
        readings = self._read()
        yield _info(readings)
        yield from _of_logins(self._metrics, readings)
        yield from _of_cache(self._metrics, readings)
        yield from _of_directory(self._metrics, readings)
        yield from _of_watches(readings)
        yield from _of_doors(readings)
        lost = "Lines of the log that nobody took."
        yield CounterMetricFamily("pysaslauthd_log_lines_lost", lost, readings.lines_lost)


def _info(readings: Readings) -> Metric:
    info = InfoMetricFamily("pysaslauthd", "The running program.")
    info.add_metric([], {"version": readings.version})
    return info


def _of_logins(metrics: Metrics, readings: Readings) -> Iterator[Metric]:
    logins = CounterMetricFamily(
        "pysaslauthd_logins", "Logins, by what came of them and why.", labels=["door", "verdict", "reason"]
    )
    for door, reason, count in metrics.logins():
        logins.add_metric([door, reason.verdict.value, reason.value], count)
    yield logins
    duration = HistogramMetricFamily(
        "pysaslauthd_login_duration_seconds",
        "Time from a login's arrival to its answer, delays of guesses included.",
        labels=["verdict", "cached"],
    )
    for (verdict, cached), histogram in metrics.login_seconds.items():
        _add(duration, [verdict.value, _word(cached)], histogram)
    yield duration
    in_flight = "Questions to the directory under way; logins that ask the same share one."
    yield GaugeMetricFamily("pysaslauthd_questions_in_flight", in_flight, readings.in_flight)
    delayed = "Refusals that were held back because there had been many wrong passwords."
    yield CounterMetricFamily("pysaslauthd_refusals_delayed", delayed, readings.delayed)
    yield GaugeMetricFamily("pysaslauthd_refusals_held_back", "Refusals that wait to be told.", readings.held_back)


def _of_cache(metrics: Metrics, readings: Readings) -> Iterator[Metric]:
    if readings.cache is None:
        return
    yield GaugeMetricFamily("pysaslauthd_cache_entries", "Logins remembered.", readings.cache.entries)
    most = "Logins that can be remembered at most."
    yield GaugeMetricFamily("pysaslauthd_cache_max_entries", most, readings.cache.most)
    yield CounterMetricFamily("pysaslauthd_cache_hits", "Logins that the cache answered.", metrics.cache_hits)
    misses = "Logins that the cache could not answer."
    yield CounterMetricFamily("pysaslauthd_cache_misses", misses, metrics.cache_misses)
    stale = "Logins accepted past their lifetime in the cache while no directory answered."
    yield CounterMetricFamily("pysaslauthd_logins_stale", stale, readings.stale)


def _of_directory(metrics: Metrics, readings: Readings) -> Iterator[Metric]:
    duration = HistogramMetricFamily(
        "pysaslauthd_directory_operation_duration_seconds",
        "Time of an operation of the directory, waiting and failover included.",
        labels=["operation", "answered"],
    )
    for (operation, answered), histogram in metrics.operation_seconds.items():
        _add(duration, [operation, _word(answered)], histogram)
    yield duration
    labels = ["server", "realm"]  # the main file's have no realm
    up = GaugeMetricFamily(
        "pysaslauthd_directory_up",
        "Whether a server could be reached last; nothing before the first try.",
        labels=labels,
    )
    failures = CounterMetricFamily(
        "pysaslauthd_directory_failures", "How often a server was found to be down or hung.", labels=labels
    )
    connections = GaugeMetricFamily("pysaslauthd_directory_connections", "Open connections to a server.", labels=labels)
    in_flight = GaugeMetricFamily(
        "pysaslauthd_directory_requests_in_flight", "Requests that wait for a server's answer.", labels=labels
    )
    for state in {(state.server, state.realm): state for state in readings.servers}.values():
        values = [state.server, state.realm] if state.realm else [state.server]
        if state.up is not None:
            up.add_metric(values, state.up)
        failures.add_metric(values, state.failures)
        connections.add_metric(values, state.connections)
        in_flight.add_metric(values, state.in_flight)
    yield from (up, failures, connections, in_flight)
    failovers = "Operations asked of another server than the first one of ldap_servers."
    yield CounterMetricFamily("pysaslauthd_directory_failovers", failovers, readings.failovers)


def _of_watches(readings: Readings) -> Iterator[Metric]:
    covered = GaugeMetricFamily(
        "pysaslauthd_watch_covered",
        "Whether every change of the directory is told, so that cached logins last for their lifetime.",
        labels=["realm"],
    )
    labels = ["server", "realm"]
    up = GaugeMetricFamily("pysaslauthd_watch_up", "Whether a server tells of changes.", labels=labels)
    changes = CounterMetricFamily("pysaslauthd_watch_changes", "Changes that a server told of.", labels=labels)
    losses = CounterMetricFamily("pysaslauthd_watch_losses", "How often a server ceased to tell.", labels=labels)
    for watch in readings.watches:
        realm = [watch.realm] if watch.realm else []
        covered.add_metric(realm, watch.covered)
        for state in watch.servers:
            up.add_metric([state.server, *realm], state.watching)
            changes.add_metric([state.server, *realm], state.changes)
            losses.add_metric([state.server, *realm], state.losses)
    yield from (covered, up, changes, losses)


def _of_doors(readings: Readings) -> Iterator[Metric]:
    connections = GaugeMetricFamily("pysaslauthd_connections", "Open connections of clients.", labels=["door"])
    for door, count in readings.connections.items():
        connections.add_metric([door], count)
    yield connections
    faults = CounterMetricFamily(
        "pysaslauthd_requests_refused",
        "Requests that were no login: malformed or too large, incomplete, late, or past the most connections (full).",
        labels=["door", "fault"],
    )
    for (door, fault), count in readings.faults.items():
        faults.add_metric([door, fault], count)
    yield faults


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    bounds: Iterable[str] = (*map(str, BOUNDS), "+Inf")
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)


def _word(true: bool) -> str:
    return "yes" if true else "no"
