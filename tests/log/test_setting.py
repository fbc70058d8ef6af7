from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

from pysaslauthd import log

from .lines import Lines


def test_only_warnings_of_other_packages_are_logged(lines: Lines) -> None:
    logging.getLogger("asyncio").debug("Using selector")
    logging.getLogger("asyncio").warning("slow callback")
    assert [line for _, line in lines.written] == ["slow callback"]


def test_the_level_can_be_changed_at_any_time(lines: Lines) -> None:
    logger = logging.getLogger("pysaslauthd.test")
    for name in log.LEVELS:
        log.set_level(name)
        assert log.level() == name
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            logger.log(level, "said")
        said = [level for level, _ in lines.written]
        assert said == [level for level in (10, 20, 30, 40, 50) if level >= log.LEVELS[name]]
        lines.written.clear()


def test_whoever_stays_attached_writes_to_the_journal_where_systemd_connected_it(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("wb") as file:
        found = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        at = str(tmp_path / "journal")
        assert isinstance(log.attached({}, "classic", fd=file.fileno(), socket=at), log.StderrHandler)
        unreachable = log.attached(environ, "classic", fd=file.fileno(), socket=at)
        unreachable.handle(logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None))
        assert (tmp_path / "stderr").read_text() == "<6>hello\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(at)
            assert isinstance(log.attached(environ, "classic", fd=file.fileno(), socket=at), log.JournalHandler)
            assert isinstance(log.attached({}, "classic", fd=file.fileno(), socket=at), log.StderrHandler)
