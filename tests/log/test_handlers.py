from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from pathlib import Path

import pytest

from pysaslauthd import log
from pysaslauthd.log import flood, handlers
from pysaslauthd.model import Outcome, Reason, identify
from rig.clock import Clock
from rig.loop import run

from .lines import PENGUIN


def test_syslog_gets_the_line_as_glibc_would_send_it(tidy: None, syslogd: socket.socket) -> None:
    handler = log.SyslogHandler(syslogd.getsockname())
    log.setup([handler], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.WRONG_PASSWORD), 1)
    data = syslogd.recv(8192).decode()
    start = (
        rf"<38>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d saslauthd\[{os.getpid()}\]: do_auth         : auth failure: \["
    )
    assert re.match(start, data)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.DIRECTORY_DOWN), 1)
    assert syslogd.recv(8192).startswith(b"<36>")
    handler.close()


def test_a_full_syslog_never_holds_the_daemon_up_and_the_loss_is_told(tidy: None, syslogd: socket.socket) -> None:
    handler = log.SyslogHandler(syslogd.getsockname())
    log.setup([handler], verbose=False)
    logger = logging.getLogger("pysaslauthd")
    sent = 0
    while not handler.lost:
        logger.warning("%s", f"line {sent}")
        sent += 1
        assert sent < 10_000
    logger.warning("lost as well")
    assert handler.lost == 2
    for expected in range(sent - 1):
        assert syslogd.recv(8192).endswith(b"line %d" % expected)
    logger.warning("again")
    assert syslogd.recv(8192).endswith(b"]: 2 log lines were lost: nobody took them")
    assert syslogd.recv(8192).endswith(b"]: again")
    logger.warning("and on")
    assert syslogd.recv(8192).endswith(b"]: and on")
    handler.close()


def test_without_a_syslog_daemon_lines_are_counted_until_it_is_there(tidy: None, tmp_path: Path) -> None:
    handler = log.SyslogHandler(str(tmp_path / "log"))
    log.setup([handler], verbose=False)
    logger = logging.getLogger("pysaslauthd")
    logger.warning("nobody hears this")
    assert handler.lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        logger.warning("heard")
        assert receiver.recv(8192).endswith(b"1 log lines were lost: nobody took them")
        assert receiver.recv(8192).endswith(b"heard")
    handler.close()


def test_a_restarted_syslog_daemon_misses_nothing(tidy: None, tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = log.SyslogHandler(str(path))
    log.setup([handler], verbose=False)
    for life in range(2):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            logging.getLogger("pysaslauthd").warning("life %d", life)
            assert receiver.recv(8192).endswith(b"life %d" % life)
    assert handler.lost == 0
    handler.close()


def test_standard_error_gets_the_same_line_without_the_time(tidy: None) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer)], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.WRONG_PASSWORD), 1)
    line = os.read(reader, 4096).decode()
    assert line.startswith(f"saslauthd[{os.getpid()}]: do_auth         : auth failure: [user=penguin]")
    assert line.endswith("]\n")
    os.close(reader)
    os.close(writer)


def test_the_journal_gets_the_priority_and_not_the_name(tidy: None) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer, journal=True)], verbose=True)
    logger = logging.getLogger("pysaslauthd")
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
        logger.log(level, "hello")
    assert os.read(reader, 4096) == b"<2>hello\n<3>hello\n<4>hello\n<6>hello\n<7>hello\n"
    os.close(reader)
    os.close(writer)


def test_a_reader_of_standard_error_that_stopped_holds_nothing_up(tidy: None) -> None:
    reader, writer = os.pipe()
    handler = log.StderrHandler(writer)
    log.setup([handler], verbose=False)
    for number in range(100):
        logging.getLogger("pysaslauthd").warning("%s", f"{number}{'x' * 3000}")
    assert handler.lost > 0
    assert os.get_blocking(writer)
    os.close(reader)
    logging.getLogger("pysaslauthd").warning("nobody there any more")
    os.close(writer)
    logging.getLogger("pysaslauthd").warning("not even open")


def test_what_cannot_be_written_is_lost_and_told(tidy: None) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    handler = log.StderrHandler(full)
    log.setup([handler], verbose=False)
    logging.getLogger("pysaslauthd").warning("no space for this")
    assert handler.lost == 1
    reader, writer = os.pipe()
    os.dup2(writer, full)
    logging.getLogger("pysaslauthd").warning("and on")
    first, second = os.read(reader, 8192).decode().splitlines()
    assert first.endswith("1 log lines were lost: nobody took them")
    assert second.endswith(": and on")
    for fd in (reader, writer, full):
        os.close(fd)


def test_a_record_that_cannot_be_formatted_breaks_nobody(tidy: None, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer)], verbose=False)
    logging.getLogger("pysaslauthd").warning("%d", "three")
    assert "--- Logging error ---" in capsys.readouterr().err
    logging.getLogger("pysaslauthd").warning("and on")
    assert os.read(reader, 8192).endswith(b": and on\n")
    for fd in (reader, writer):
        os.close(fd)


def test_a_flood_is_told_of_when_it_ends_though_nothing_more_is_logged(
    tidy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "WINDOW", flood.WINDOW * 0.6)  # it looks too early, and again
    reader, writer = os.pipe()

    async def count() -> None:
        clock = Clock()
        handler = log.StderrHandler(writer)
        handler._flood = flood.Flood(lambda: clock.now)
        log.setup([handler], verbose=False)
        for _ in range(flood.MAX_MESSAGES + 3):
            logging.getLogger("pysaslauthd").warning("the same")
        said = os.read(reader, 65536).decode()
        assert said.count("the same\n") == flood.MAX_MESSAGES
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(reader, told.set)
        clock.move(flood.WINDOW * 0.6)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not told.is_set()
        clock.move(flood.WINDOW * 0.6)
        await told.wait()

    run(count())
    assert "the same (repeated 3 times in" in os.read(reader, 65536).decode()
    for fd in (reader, writer):
        os.close(fd)


def test_json_on_standard_error_has_nothing_before_it(tidy: None) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer, form="json")], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.WRONG_PASSWORD), 1)
    line = os.read(reader, 4096).decode()
    assert json.loads(line)["user"] == "penguin"
    assert line.endswith("}\n")
    os.close(reader)
    os.close(writer)


def test_json_for_syslog_is_the_message(tidy: None, syslogd: socket.socket) -> None:
    handler = log.SyslogHandler(syslogd.getsockname(), form="json")
    log.setup([handler], verbose=False)
    logging.getLogger("pysaslauthd").warning("hello")
    _, _, message = syslogd.recv(8192).decode().partition(f" saslauthd[{os.getpid()}]: ")
    assert json.loads(message)["message"] == "hello"
    handler.close()
