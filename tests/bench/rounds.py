"""The rounds: each daemon in turn, again and again, so that a machine that is busy for a while is so for all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import NamedTuple

from click import echo

from bench import peers
from bench.peers import ORIGINAL, OURS, Peer, Setting
from bench.proxy import delaying
from bench.tools import Load, Tools
from bench.work import DELAY, Row
from rig import Slapd, people

WITHOUT = "pysaslauthd, none held"
"""This daemon's own rate, beside the one with connections held open."""


class Plan(NamedTuple):
    """How long a run takes."""

    warm: int
    """Logins of each daemon before the first round: PyPy compiles meanwhile."""
    rounds: int
    seconds: float
    """Of each daemon in each round."""
    delayed: float
    """The same where the directory is far away: some multiples of ``DELAY``."""
    held: float
    """The same with connections held open: a daemon may end silent ones after 10 s, and new ones come then."""
    grace: float
    """To wait for the last answers."""


class Seen(NamedTuple):
    """One daemon in one round."""

    load: Load
    cpu: float
    """Seconds of its whole process tree."""

    @property
    def cpu_us(self) -> float:
        """CPU time per login in microseconds."""
        return self.cpu / max(1, self.load.answered) * 1e6


class Figures(NamedTuple):
    """One daemon at one kind of work: medians of its rounds, the sum of its faults."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    faults: int
    unanswered: int


class Measured(NamedTuple):
    """One kind of work. The ratios are medians of the rounds' own ratios, to saslauthd or to ``WITHOUT``; None: the
    other has done nothing that could be measured."""

    figures: dict[str, Figures]
    rate: float | None
    cpu: float | None
    latency: float | None
    rounds: int


def once(tools: Tools, peer: Peer, row: Row, seconds: float, grace: float = 6) -> Seen:
    """Load one daemon for so long."""
    before = peers.cpu_seconds(peer.pid)
    load = tools.load(peer.protocol, peer.socket, in_flight=row.in_flight, seconds=seconds, grace=grace)
    return Seen(load, peers.cpu_seconds(peer.pid) - before)


def measure(tools: Tools, server: Slapd, rows: Sequence[Row], plan: Plan) -> Iterator[tuple[Row, Measured]]:
    """Start the daemons once for each way of asking, and measure its rows.

    :raises AssertionError: a daemon's first answers are not what they must be.
    """
    by_setting = sorted(rows, key=lambda row: (row.method, row.cached, row.delayed))
    for (method, cached, delayed), group in groupby(by_setting, lambda row: (row.method, row.cached, row.delayed)):
        with (
            delaying(server.port, DELAY) if delayed else nullcontext(server.port) as port,
            peers.running(Setting(method, cached, f"ldap://127.0.0.1:{port}/")) as running,
        ):
            for peer in running.values():
                _warm(tools, peer, 4 if delayed else max(plan.warm, tools.people if cached else 0))
            for row in group:
                echo(f"-- {row.title}, {row.in_flight} in flight", err=True)
                yield row, (_measure_held if row.held else _measure)(tools, running, row, plan)


def _warm(tools: Tools, peer: Peer, logins: int) -> None:
    """Log in people in turn, so often; everybody once at least where answers are remembered."""
    seen = tools.load(peer.protocol, peer.socket, in_flight=4, logins=logins, wrong=0)
    assert (seen.accepted, seen.faults) == (seen.answered, 0), f"{peer.name} lets people in wrongly: {seen}"


def _measure(tools: Tools, running: dict[str, Peer], row: Row, plan: Plan) -> Measured:
    seconds = plan.delayed if row.delayed else plan.seconds
    order = list(running)
    seen: dict[str, list[Seen]] = {name: [] for name in order}
    for _ in range(plan.rounds):
        for name in order:
            seen[name].append(once(tools, running[name], row, seconds, plan.grace))
        order = order[1:] + order[:1]
    return _summary(seen, ORIGINAL)


def _measure_held(tools: Tools, running: dict[str, Peer], row: Row, plan: Plan) -> Measured:
    ours, original = running[OURS], running[ORIGINAL]
    seen: dict[str, list[Seen]] = {OURS: [], WITHOUT: []}
    for _ in range(plan.rounds):
        seen[WITHOUT].append(once(tools, ours, row, plan.seconds, plan.grace))
        with tools.holding(ours.socket, row.held):
            seen[OURS].append(once(tools, ours, row, plan.held, plan.grace))
    # Once is enough: its workers wait for what never comes.
    with tools.holding(original.socket, row.held):
        seen[ORIGINAL] = [once(tools, original, row, plan.seconds, grace=0)]
    return _summary(seen, WITHOUT)


def _summary(seen: dict[str, list[Seen]], base: str) -> Measured:
    def ratio(value: Callable[[Seen], float]) -> float | None:
        pairs = [(value(mine), value(its)) for mine, its in zip(seen[OURS], seen[base], strict=True)]
        return statistics.median(mine / its for mine, its in pairs) if all(its > 0 for _, its in pairs) else None

    def median(name: str, value: Callable[[Seen], float]) -> float:
        return statistics.median(value(each) for each in seen[name])

    return Measured(
        {
            name: Figures(
                median(name, lambda each: each.load.rate),
                median(name, lambda each: each.cpu_us),
                median(name, lambda each: each.load.p50_ms),
                median(name, lambda each: each.load.p99_ms),
                sum(each.load.faults for each in seen[name]),
                sum(each.load.unanswered for each in seen[name]),
            )
            for name in seen
        },
        ratio(lambda each: each.load.rate),
        ratio(lambda each: each.cpu_us),
        ratio(lambda each: each.load.p50_ms),
        len(seen[OURS]),
    )


def limits(tools: Tools, server: Slapd, seconds: float) -> dict[str, float]:
    """Logins a second that the directory allows by each method, with nothing but libldap: the median of three.

    A login by bind is a search and a bind, one after the other.
    """

    def rate(operation: str) -> float:
        who = (people.SERVICE_DN, people.SERVICE_PASSWORD, people.PEOPLE)
        return statistics.median(
            tools.limit(operation, server.uri, *who, in_flight=64, seconds=seconds) for _ in range(3)
        )

    search, bind = rate("search"), rate("bind")
    return {"custom": search, "bind": 1 / (1 / search + 1 / bind), "fastbind": bind}
