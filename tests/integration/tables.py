"""Tables of the documentation that tests make: measured, compared with the page, rewritten on demand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rig.daemon import ROOT

REWRITE = "PYSASLAUTHD_WRITE_TABLES"
"""Set this variable to anything, and the tables are written instead of compared."""


def compare(page: str, name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Compare a table with the one between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.

    :param page: below docs.
    """
    path = ROOT / "docs" / page
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    before, found, rest = path.read_text().partition(f"<!-- table: {name} -->\n")
    assert found, f"{page} has no table {name!r}"
    held, end, after = rest.partition("<!-- end of table -->")
    if os.environ.get(REWRITE):
        path.write_text(f"{before}{found}\n{table}\n\n{end}{after}")
    else:
        assert held.strip() == table, f"{page} differs from what was measured; {REWRITE}=1 writes it anew"
