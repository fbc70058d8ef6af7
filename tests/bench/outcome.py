"""What a soak has seen, what of it should not be, and the table that tells it."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence

from rig.volley import Login

DEADLINE = 4.0
LATE = 0.5
"""Seconds past the deadline from which an answer is late: the clients and the servers share the daemon's machine."""
STEP_MB = 3.0
"""Memory more in the calm after the faults than in the calm before them: what malloc keeps of the worst moment."""
GROWTH_MB = 1.0
"""Memory more in the last third of the faults than in the middle third: more is a leak."""
DESCRIPTORS = 20
"""Descriptors more in the end than in the beginning: broken clients and servers take some, now more, now less."""
LONG = 300.0
"""Seconds of a run from which memory is judged: before, connections come and go that nothing has closed yet."""
POINTS = 20
"""Of the curve of memory."""


class Phase:
    """What was seen in one part of the time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: Counter[bytes | None] = Counter()
        self.mistaken: list[Login] = []
        self.late: list[Login] = []
        self.times: list[float] = []
        self.faults: Counter[str] = Counter()
        self.turned_away: list[Login] = []
        """Closed without an answer although a server worked."""
        self.held_up = 0
        """Logins that were late, or closed without an answer, because the machine stood still."""
        self.memory: list[float] = []
        """In MB, twice a second."""
        self.descriptors = 0

    def add(self, seen: Login, *, served: bool, stood: float, stalled: bool = False) -> None:
        """Count a login.

        :param served: whether a server has worked all the time.
        :param stood: seconds of it for which the machine stood still.
        :param stalled: whether it did so for long, in the login or so shortly before that servers may be given up.
        """
        self.answers[seen.answer] += 1
        self.times.append(seen.seconds)
        if seen.mistaken:
            self.mistaken.append(seen)
        if seen.seconds - stood > DEADLINE + LATE:
            self.late.append(seen)
        elif seen.seconds > DEADLINE + LATE:
            self.held_up += 1
        if served and seen.answer is None:
            if stalled:
                self.held_up += 1
            else:
                self.turned_away.append(seen)

    def row(self) -> str:
        """Of the table."""
        times = sorted(self.times) or [0.0]
        p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
        cells = [
            self.name,
            f"{len(self.times):,}",
            f"{self.answers[b'OK']:,}",
            f"{self.answers[b'NO']:,}",
            f"{self.answers[None]:,}",
            str(len(self.turned_away)),
            str(len(self.mistaken)),
            str(len(self.late)),
            str(self.held_up),
            f"{p50:.0f} / {p99:.0f} / {times[-1] * 1000:.0f} ms",
            f"{statistics.median(self.memory):.1f} / {max(self.memory):.1f} MB",
            str(self.descriptors),
        ]
        return f"| {' | '.join(cells)} |"


def problems(phases: Sequence[Phase], seconds: float, log: str) -> list[str]:
    """What did not hold; a line each."""
    before, _, _, after = phases
    found = []
    for phase in phases:
        found += [f"{phase.name}: wrong answer: {seen}" for seen in phase.mistaken[:5]]
        found += [f"{phase.name}: late: {seen}" for seen in phase.late[:5]]
        if phase.turned_away:
            found.append(f"{phase.name}: {len(phase.turned_away)} closed without an answer: {phase.turned_away[:5]}")
    if seconds >= LONG:
        found += _growth(phases)
    if after.descriptors > before.descriptors + DESCRIPTORS:
        found.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if "internal error" in log:
        found.append("the log tells of an internal error")
    return found


def _growth(phases: Sequence[Phase]) -> list[str]:
    before, _, _, after = (statistics.median(phase.memory) for phase in phases)
    found = []
    if after > before + STEP_MB:
        found.append(f"memory went from {before:.1f} to {after:.1f} MB")
    _, middle, last = _medians(phases[1].memory + phases[2].memory, 3)
    if last > middle + GROWTH_MB:
        found.append(f"memory grew from {middle:.1f} to {last:.1f} MB while faults went on")
    return found


def _medians(values: Sequence[float], parts: int) -> list[float]:
    """Of each of so many equal parts, or of as many as there are values."""
    parts = min(parts, len(values))
    edges = [len(values) * each // parts for each in range(parts + 1)]
    return [statistics.median(values[start:end]) for start, end in itertools.pairwise(edges)]


def table(phases: Sequence[Phase], seconds: float) -> str:
    """The results, in Markdown."""
    faults = phases[1].faults + phases[2].faults
    head = [
        "phase",
        "logins",
        "OK",
        "NO",
        "closed",
        "of these while a server worked",
        "wrong answers",
        "late",
        "late or closed as the machine stood still",
        "median / 99 % / longest",
        "memory, median / most",
        "descriptors",
    ]
    curve = _medians([each for phase in phases for each in phase.memory], POINTS)
    lines = [
        f"{seconds:.0f} s; {faults.total()} faults: "
        + ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
        + ".",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(phase.row() for phase in phases),
        "",
        f"Memory in MB, each the median of {seconds / len(curve):.0f} s: {', '.join(f'{each:.1f}' for each in curve)}.",
    ]
    return "\n".join(lines)
