"""Output that the documentation shows: made by the tests, kept in the repository.

A test fails where a command says something else than the kept file. ``PYSASLAUTHD_WRITE_OUTPUT=1`` in the environment
writes what it says now. Numbers that change from run to run (milliseconds, days) are not compared.
"""

from __future__ import annotations

import difflib
import os
import re

from rig.daemon import ROOT

OUTPUT = ROOT / "docs" / "reference" / "output"
_CHANGING = [
    (re.compile(r" *\b\d+\.\d+ ms"), " N ms"),
    (re.compile(r"(?<=milliseconds\": )\d+\.\d+"), "N"),
    (re.compile(r"\b\d+ days"), "N days"),
]


def compare(name: str, text: str) -> None:
    """Compare a command's output with the kept file of that name, or write it.

    :param text: with what is only this run's (ports, paths) replaced already.
    """
    path = OUTPUT / name
    if os.environ.get("PYSASLAUTHD_WRITE_OUTPUT") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path}: set PYSASLAUTHD_WRITE_OUTPUT=1 to write it"
    kept, said = (_steady(each).splitlines() for each in (path.read_text(), text))
    difference = "\n".join(difflib.unified_diff(kept, said, "kept", "said", lineterm="", n=0))
    assert kept == said, f"{path} is stale: set PYSASLAUTHD_WRITE_OUTPUT=1 to write it\n{difference}"


def _steady(text: str) -> str:
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text
