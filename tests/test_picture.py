"""The pictures in the README: drawn from what the commands print, and not of other ones."""

from __future__ import annotations

import inspect
import re
import runpy
from xml.etree import ElementTree

import pytest
from test_house import ROOT

from pysaslauthd.cli import demo

DRAWN = runpy.run_path(str(ROOT / "docs" / "picture.py"))


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_terminal_is_drawn_with_its_text_and_styles() -> None:
    svg = DRAWN["picture"]("\x1b[1mtitle\x1b[0m\n  a <b> & c\n\nplain \x1b[32mgood\x1b[0m end\n", "pysaslauthctl demo")
    assert texts(svg) == ["$", " pysaslauthctl demo", "title", "  a <b> & c", "plain ", "good", " end"]
    styled = {
        each.text: each.get("fill") for each in ElementTree.fromstring(svg).iter() if each.text in {"good", " end"}
    }
    assert styled["good"] != styled[" end"]


def test_the_picture_is_of_the_demo_as_it_is() -> None:
    shown = texts((ROOT / "docs" / "demo.svg").read_text())
    code = inspect.getsource(demo)
    titles = re.findall(r'^        f?"([A-Z][^"{]*)[^"]*": \[$', code, re.MULTILINE)
    titles += re.findall(r'^ +title = f?"([^"{]*)', code, re.MULTILINE)
    assert len(titles) == 6
    for title in titles:
        assert any(line.startswith(title) for line in shown), f"{title!r}: run python docs/picture.py"
    assert any(re.fullmatch(r"All \d+ answers are the expected ones; .*", line) for line in shown)


@pytest.mark.parametrize("name", sorted(DRAWN["SEEN"]))
def test_the_other_pictures_are_of_what_the_tests_have_seen(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.svg").read_text() == DRAWN["seen"](name), "stale: run python docs/picture.py"
