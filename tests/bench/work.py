"""What is measured, and what is aimed at."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One kind of work. The aims are ratios to saslauthd in the same round; None: measured without an aim."""

    key: str
    """For ``--only`` and for the results."""
    title: str
    method: str
    in_flight: int
    rate: float | None = None
    """At least: logins a second."""
    cpu: float | None = None
    """At most: CPU time per login."""
    latency: float | None = None
    """At most: median latency."""
    cached: bool = False
    delayed: bool = False
    """Whether the directory takes ``DELAY`` for each operation."""
    held: int = 0
    """Idle or half-sent connections held open meanwhile. The aim ``rate`` is then of this daemon's own rate without."""


DELAY = 0.2
"""Seconds."""

ROWS = (
    Row("cached-16", "cached", "custom", 16, rate=1.5, cpu=0.5, cached=True),
    Row("cached-64", "cached", "custom", 64, rate=1.5, cpu=0.5, cached=True),
    Row("custom-64", "custom, not cached", "custom", 64, rate=1.8, cpu=0.6),
    Row("custom-16", "custom, not cached", "custom", 16, rate=1.2, cpu=0.7),
    Row("custom-1", "custom, one client", "custom", 1, latency=1.2),
    Row("bind-64", "bind, not cached", "bind", 64, rate=1.8, cpu=0.75),
    Row("bind-16", "bind, not cached", "bind", 16, rate=1.5, cpu=0.8),
    Row("bind-1", "bind, one client", "bind", 1, latency=0.9),
    Row("fastbind-64", "fastbind, not cached", "fastbind", 64, rate=1.2, cpu=0.9),
    Row("custom-delayed", "custom, directory 200 ms away", "custom", 200, rate=20, delayed=True),
    Row("bind-delayed", "bind, directory 200 ms away", "bind", 200, rate=20, delayed=True),
    Row("custom-held", "custom, 3,000 connections idle or half-sent", "custom", 16, rate=0.9, held=3000),
    Row("cached-held", "cached, 3,000 connections idle or half-sent", "custom", 16, rate=0.9, cached=True, held=3000),
)

START_SECONDS = 0.4
"""From the start of the process to its READY, at most."""
MEMORY_MB = 45.0
"""Resident, at most, after ``MEMORY_LOGINS`` of ``MEMORY_PEOPLE`` with a full cache of ``-s 1024``."""
MEMORY_PEOPLE = 100_000
MEMORY_LOGINS = 1_000_000
GROWTH_FROM = 200_000
"""From this login on, memory must not grow …"""
GROWTH_MB = 0.5
"""… beyond this: the allocator's arenas come and go."""


def chosen(words: str) -> tuple[Row, ...]:
    """The rows that comma-separated words name: a key such as bind-64, or a part of one such as bind; all for none.

    :raises ValueError: a word names nothing.
    """
    wanted = [word for word in words.split(",") if word]
    for word in wanted:
        if not any(_named(row, word) for row in ROWS):
            raise ValueError(f"no work is called {word!r}; there are {' '.join(row.key for row in ROWS)}")
    return tuple(row for row in ROWS if not wanted or any(_named(row, word) for word in wanted))


def _named(row: Row, word: str) -> bool:
    return word == row.key or word in row.key.split("-")
