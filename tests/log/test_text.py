from __future__ import annotations

import logging
import re

from pysaslauthd import log
from pysaslauthd.log.text import one_line

from .lines import Lines


def test_a_long_field_is_cut_and_says_so() -> None:
    assert log.escape(b"a" * 256) == "a" * 256
    assert log.escape(b"a" * 257) == "a" * 253 + "..."
    for start in range(4):
        cut = log.escape(b"a" * start + b"\x00" * 300)
        assert len(cut) <= 256
        assert re.fullmatch(r"a*(\\x00)+\.\.\.", cut)


def test_a_traceback_is_one_line_that_ends_with_the_exception(lines: Lines) -> None:
    def fail() -> None:
        raise ValueError("first\nsecond\x07é")

    try:
        fail()
    except ValueError:
        logging.getLogger("pysaslauthd.daemon").exception("broken")
    [(level, line)] = lines.written
    assert level == logging.ERROR
    assert line.startswith("broken | Traceback (most recent call last): | ")
    assert line.endswith("ValueError: first | second\\x07\\xe9")


def test_a_long_line_keeps_its_two_ends() -> None:
    line = one_line("start" + "x" * 9000 + "end")
    assert len(line) == 4000
    assert line.startswith("start")
    assert line.endswith("end")
