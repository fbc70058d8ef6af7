from __future__ import annotations

import asyncio
import logging

import pytest

from pysaslauthd import log
from pysaslauthd.log.flood import MAX_MESSAGES, MAX_REJECTED, MAX_UNAVAILABLE, MAX_WINDOWS, WINDOW, Flood
from pysaslauthd.model import Reason
from rig.clock import Clock as Moved
from rig.loop import run

from .lines import PENGUIN, Lines, event


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(message: object, *args: object) -> logging.LogRecord:
    return logging.LogRecord("pysaslauthd.test", logging.INFO, __file__, 1, message, args, None)


def failure(reason: Reason = Reason.WRONG_PASSWORD, user: str = "penguin", remote: str = "192.0.2.7") -> log.LoginEvent:
    request = PENGUIN._replace(login=user.encode(), remote=remote.encode())
    return event(request, reason, "")._replace(remote=remote.encode())


def written(flood: Flood, *messages: object) -> list[bool]:
    return [flood.takes(record(message)) for message in messages]


def test_the_first_attempts_of_a_flood_are_written_and_the_rest_is_summed_up() -> None:
    clock = Clock()
    flood = Flood(clock)
    attempts = [failure(remote=f"192.0.2.7;{port}") for port in range(1, 1245)]  # each from a port of its own
    assert written(flood, *attempts) == [True] * MAX_REJECTED + [False] * (1244 - MAX_REJECTED)
    clock.now += WINDOW - 0.001
    assert flood.ended() == []
    clock.now += 0.001
    [summary] = flood.ended()
    assert str(summary.msg) == str(attempts[-1]._replace(repeated=1244 - MAX_REJECTED))
    assert flood.ended() == []
    assert not flood.counting
    assert written(flood, failure()) == [True]


def test_a_window_without_a_flood_ends_without_a_word() -> None:
    clock = Clock()
    flood = Flood(clock)
    written(flood, *[failure()] * MAX_REJECTED)
    clock.now += WINDOW
    assert flood.ended() == []
    assert written(flood, *[failure()] * MAX_REJECTED) == [True] * MAX_REJECTED


@pytest.mark.parametrize("other", [failure(user="emperor"), failure(remote="192.0.2.8"), failure(Reason.UNKNOWN_USER)])
def test_another_person_address_or_reason_is_another_message(other: log.LoginEvent) -> None:
    flood = Flood(Clock())
    written(flood, *[failure()] * 1000)
    assert written(flood, other, failure()) == [True, False]


def test_an_outage_is_summed_up_for_everybody_together() -> None:
    clock = Clock()
    flood = Flood(clock)
    events = [failure(Reason.DIRECTORY_DOWN, user=f"u{number}") for number in range(1000)]
    assert written(flood, *events) == [True] * MAX_UNAVAILABLE + [False] * (1000 - MAX_UNAVAILABLE)
    assert written(flood, failure(Reason.DEADLINE)) == [True]


def test_accepted_logins_are_never_summed_up() -> None:
    assert all(written(Flood(Clock()), *[failure(Reason.OK)] * 1000))


def test_any_other_message_is_one_whatever_its_values() -> None:
    clock = Clock()
    flood = Flood(clock)
    records = [record("%s: a request is refused: %d octets", "mux", number) for number in range(1256)]
    assert sum(map(flood.takes, records)) == MAX_MESSAGES
    clock.now += WINDOW
    [summary] = flood.ended()
    assert summary.getMessage() == "mux: a request is refused: 1255 octets (repeated 1,236 times in 10 s)"


def test_messages_that_are_all_value_are_told_apart() -> None:
    flood = Flood(Clock())
    assert all(flood.takes(record("%s", f"warning {number}")) for number in range(1000))


def test_no_more_than_so_many_messages_are_counted_at_once() -> None:
    clock = Clock()
    flood = Flood(clock)
    written(flood, *[failure()] * (MAX_REJECTED + 3))
    for number in range(10 * MAX_WINDOWS):
        assert written(flood, failure(user=f"u{number}")) == [True]
    assert len(flood._windows) == MAX_WINDOWS
    [summary] = flood.ended()  # what was pushed out has been told of
    assert summary.msg == failure()._replace(repeated=3)


def test_the_end_tells_of_what_is_left() -> None:
    lines = Lines()
    for _ in range(MAX_REJECTED + 2):
        lines.handle(record(failure()))
    assert len(lines.written) == MAX_REJECTED
    lines.flush()
    assert lines.written[-1][1].endswith(" [repeated=2]")
    lines.flush()
    assert len(lines.written) == MAX_REJECTED + 1


def test_where_an_event_loop_runs_the_end_of_a_flood_is_told_without_another_line() -> None:
    async def go() -> None:
        clock = Moved()
        told = asyncio.Event()

        class Told(Lines):
            def _write(self, record: logging.LogRecord, line: str) -> bool:
                if "repeated=" in line:
                    told.set()
                return super()._write(record, line)

        lines = Told()
        lines._flood = Flood(lambda: clock.now)
        for _ in range(MAX_REJECTED + 7):
            lines.handle(record(failure()))
        clock.move(WINDOW)
        await told.wait()
        assert lines.written[-1][1].endswith(" [repeated=7]")

    run(go())
