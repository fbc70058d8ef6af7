"""The configuration that the documentation shows, taken out of its pages to be run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from rig.daemon import ROOT

DOCS = ROOT / "docs"


def snippet(page: str, name: str, paths: dict[str, Path] | None = None) -> str:
    """The text of the code block under ``<!-- snippet: NAME -->``.

    :param page: below docs, such as ``how-to/postfix.md``.
    :param paths: what to put in the place of paths, longest first. One that the text does not hold is an
        AssertionError, so that text and test cannot drift apart.
    """
    text = (DOCS / page).read_text()
    found = re.findall(rf"^<!-- snippet: {re.escape(name)} -->\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{page} has {len(found)} snippets {name!r}"
    if not paths:
        return str(found[0])
    held = re.compile("|".join(map(re.escape, sorted(paths, key=len, reverse=True))))
    lacking = paths.keys() - set(held.findall(found[0]))
    assert not lacking, f"{page}, {name}: {lacking} is not in it"
    return held.sub(lambda path: str(paths[path[0]]), found[0])


def snippets(page: str) -> set[str]:
    """The names of a page's snippets."""
    return set(re.findall(r"^<!-- snippet: (.*) -->$", (DOCS / page).read_text(), re.MULTILINE))


def options(page: str, name: str, paths: dict[str, Path] | None = None) -> list[str]:
    """The command line that a snippet of ``/etc/default/saslauthd`` makes."""
    lines = dict(word.split("=", 1) for word in shlex.split(snippet(page, name, paths)))
    assert lines.keys() == {"MECHANISMS", "OPTIONS"}, lines
    return ["-a", lines["MECHANISMS"], *shlex.split(lines["OPTIONS"])]
