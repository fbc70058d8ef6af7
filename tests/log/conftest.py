"""Parts of the log's tests."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysaslauthd import log

from .lines import Lines


@pytest.fixture
def tidy() -> Iterator[None]:
    """Puts the process's loggers back."""
    root, package = logging.getLogger(), logging.getLogger("pysaslauthd")
    before = root.handlers[:], root.level, package.level
    yield
    root.handlers[:], root.level, package.level = before[0], before[1], before[2]


@pytest.fixture
def lines(tidy: None) -> Lines:
    lines = Lines()
    log.setup([lines], verbose=True)
    return lines


@pytest.fixture
def syslogd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        receiver.settimeout(60)
        yield receiver
