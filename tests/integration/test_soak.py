"""The soak's command, for some seconds, and its judgement of memory and of answers that come late."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench import outcome, soak
from bench.outcome import LONG, Phase, problems, table
from bench.soak import PHASES, main
from click.testing import CliRunner

from rig.needs import need
from rig.volley import Login


def test_a_short_soak_finds_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who is late, or turned away, cannot be told in so short a time on a machine that does other things too.
    monkeypatch.setattr(outcome, "LATE", 60.0)
    monkeypatch.setattr(outcome, "DESCRIPTORS", 200)
    monkeypatch.setattr(soak, "STALL", 0.0)
    need("slapd", "slapadd", "ldapmodify", "ns-slapd", "certutil", "pk12util")
    ran = CliRunner().invoke(main, ["--seconds", "8", "--seed", "7"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("| calm") == 2


def phases(memory: Callable[[int], float]) -> list[Phase]:
    """Of a run with these MB at each of 400 moments."""
    made = [Phase(name) for name in PHASES]
    for number, phase in enumerate(made):
        phase.memory = [memory(number * 100 + moment) for moment in range(100)]
    return made


@pytest.mark.parametrize(
    ("memory", "says"),
    [
        (lambda moment: 35.0 if moment < 120 else 37.0, []),
        (lambda moment: 35.0 if moment < 120 else 39.0, ["memory went from 35.0 to 39.0 MB"]),
        (
            lambda moment: 35.0 + moment / 50 if moment < 300 else 35.0,
            ["memory grew from 39.0 to 40.3 MB while faults went on"],
        ),
    ],
)
def test_a_soak_tells_a_leak_from_a_step(memory: Callable[[int], float], says: list[str]) -> None:
    assert problems(phases(memory), LONG, "") == says
    assert "Memory in MB, each the median of 15 s: 35." in table(phases(memory), LONG)


def test_a_soak_tells_an_answer_that_is_late_from_a_machine_that_stood_still() -> None:
    made = phases(lambda _: 35.0)
    late = Login("u0", True, b"OK", 6.0)
    made[1].add(late, served=True, stood=3.0)
    assert problems(made, LONG, "") == []
    assert "| 1 | 0 | 0 | 0 | 0 | 0 | 1 |" in made[1].row()
    made[1].add(late, served=True, stood=0.3)
    assert problems(made, LONG, "") == [f"faults: late: {late}"]


def test_a_soak_tells_who_was_turned_away() -> None:
    made = phases(lambda _: 35.0)
    closed = Login("u0", True, None, 0.1)
    made[1].add(closed, served=False, stood=0.0)
    made[1].add(closed, served=True, stood=0.0, stalled=True)
    assert problems(made, LONG, "") == []
    made[1].add(closed, served=True, stood=0.0)
    assert problems(made, LONG, "") == [f"faults: 1 closed without an answer: [{closed}]"]
