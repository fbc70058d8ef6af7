"""Draws terminals with real runs, for the README: ``python docs/picture.py``.

demo.svg shows a run of the demo, made now; check.svg, explain.svg and status.svg show what the tests have seen the
commands print (reference/output).
"""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent
DEMO = "pysaslauthctl demo"
SEEN = {
    "check": "pysaslauthctl check",
    "explain": "pysaslauthctl explain penguin -r hoge.cxm -s smtp",
    "status": "pysaslauthctl status --watch",
}
"""The command of each picture whose output the tests have seen."""

_COLUMN, _LINE, _MARGIN, _BAR = 8.4, 19, 16, 34
_STYLES = {
    "1": 'fill="#ffffff" font-weight="bold"',
    "2": 'fill="#8b949e"',
    "31": 'fill="#ff7b72"',
    "32": 'fill="#7ee787"',
}
_PLAIN = 'fill="#c9d1d9"'
_STYLED = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m")
# The demo's folder has another name each time.
_RANDOM = re.compile(r"(?<=/pysaslauthd-demo)-\w+")


def run() -> str:
    """What the demo prints to a terminal, as it prints it."""
    printed = bytearray()

    def read(fd: int) -> bytes:
        data = os.read(fd, 4096)
        printed.extend(data)
        return data

    status = pty.spawn(
        [sys.executable, "-c", "from pysaslauthd.cli.control import main; raise SystemExit(main(['demo']))"], read
    )
    if status:
        raise SystemExit("the demo failed; the picture stays as it is")
    return _RANDOM.sub("", printed.decode().replace("\r\n", "\n"))


def seen(name: str) -> str:
    """The picture of a command as the tests have seen it."""
    return picture((FOLDER / "reference/output" / f"{name}.txt").read_text(), SEEN[name])


def picture(printed: str, command: str) -> str:
    """An SVG of a terminal in which the command has printed this; of its escapes those that the demo uses."""
    lines = [f"\x1b[2m$\x1b[0m {command}", *printed.rstrip("\n").split("\n")]
    columns = max(len(_STYLED.sub(r"\2", line)) for line in lines)
    width, height = columns * _COLUMN + 2 * _MARGIN, len(lines) * _LINE + _BAR + _MARGIN
    dots = "".join(
        f'<circle cx="{x}" cy="17" r="5.5" fill="{fill}"/>'
        for x, fill in ((20, "#ff5f57"), (38, "#febc2e"), (56, "#28c840"))
    )
    text = "\n".join(_line(line, _BAR + _LINE * (number + 0.75)) for number, line in enumerate(lines) if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">\n'
        f"<title>A run of {command}</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n{dots}\n{text}\n</svg>\n'
    )


def _line(line: str, y: float) -> str:
    drawn, column, end = [], 0, 0
    for styled in _STYLED.finditer(line):
        for text, style in ((line[end : styled.start()], _PLAIN), (styled[2], _STYLES[styled[1]])):
            drawn.append(_text(text, style, column, y))
            column += len(text)
        end = styled.end()
    return "".join([*drawn, _text(line[end:], _PLAIN, column, y)])


def _text(text: str, style: str, column: int, y: float) -> str:
    if not text.strip():
        return ""
    x, length = _MARGIN + column * _COLUMN, len(text) * _COLUMN
    # textLength: columns stay columns whatever font there is.
    return f'<text x="{x:.1f}" y="{y:.1f}" textLength="{length:.1f}" xml:space="preserve" {style}>{escape(text)}</text>'


if __name__ == "__main__":
    (FOLDER / "demo.svg").write_text(picture(run(), DEMO))
    for name in SEEN:
        (FOLDER / f"{name}.svg").write_text(seen(name))
