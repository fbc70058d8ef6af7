"""Writes the table of keys in configuration.md from the code: ``python docs/configuration.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pysaslauthd.config import KEYS, Key

PAGE = Path(__file__).with_name("configuration.md")
_TABLE = re.compile(r"(?<=<!-- keys -->\n).*(?=<!-- end of keys -->)", re.DOTALL)


def page(text: str) -> str:
    """The page's text with the table as the code has it now."""
    rows = ["| key | default | unit | meaning | values |", "| --- | --- | --- | --- | --- |"]
    rows += [_row(name, key) for name, key in KEYS.items()]
    table = "\n".join(["", *rows, "", ""])
    text, found = _TABLE.subn(lambda _: table, text)
    if found != 1:
        raise ValueError(f"{PAGE.name}: the marks of the table are not there")
    return text


def _row(name: str, key: Key[Any]) -> str:
    names = ", ".join(f"`{each}`" for each in (name, *key.aliases))
    default = f"`{key.default}`" if key.default else "none"
    cells = [names, default, key.unit, key.meaning, key.kind.values]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
