"""The comparison as an SVG picture: a group of bars for each kind of work, in multiples of one daemon's rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _LEFT, _RIGHT = 960, 250, 110
_BAR, _GAP, _TOP, _BOTTOM = 15, 18, 60, 44
_COLOURS = ("#1b6ca8", "#8a8a8a", "#d08c2a", "#86b8dc")
_LIMIT = "#b3261e"
TIMES = "\u00d7"

Group = tuple[str, Mapping[str, float], float | None]
"""Title, logins a second by daemon, and the most that the directory allows."""


def bars(groups: Sequence[Group], *, base: str) -> str:
    """Draw the groups; each bar's length is its rate as a multiple of ``base``'s in the same group."""
    names = list(dict.fromkeys(name for _, rates, _ in groups for name in rates))
    colours = dict(zip(names, _COLOURS, strict=False))
    scaled = [
        (title, rates, limit, rates[base])
        for title, rates, limit in groups
        if rates.get(base)  # nothing can be a multiple of nothing
    ]
    most = max((max(*rates.values(), limit or 0) / one for _, rates, limit, one in scaled), default=1.0)
    per_multiple = (_WIDTH - _LEFT - _RIGHT) / most
    height = _TOP + sum(len(rates) * _BAR + _GAP for _, rates, _, _ in scaled) + _BOTTOM
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="Logins a second, as multiples of {escape(base)}">'
    )
    parts = [
        head,
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *_legend(colours, base),
        *_axis(most, per_multiple, height),
    ]
    top = _TOP
    for title, rates, limit, one in scaled:
        bottom = top + len(rates) * _BAR
        parts.append(_text(_LEFT - 8, (top + bottom) / 2 + 4, title, anchor="end"))
        for index, (name, rate) in enumerate(rates.items()):
            y, length = top + index * _BAR, rate / one * per_multiple
            parts.append(
                f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" fill="{colours[name]}">'
                f"<title>{escape(name)}: {rate:,.0f}/s</title></rect>"
            )
            parts.append(_text(_LEFT + length + 4, y + _BAR - 4, f"{rate:,.0f}/s"))
        if limit:
            x = _LEFT + limit / one * per_multiple
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom + 2}" stroke="{_LIMIT}" '
                f'stroke-width="2"><title>libldap: {limit:,.0f}/s</title></line>'
            )
        top = bottom + _GAP
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(colours: Mapping[str, str], base: str) -> list[str]:
    parts = [_text(16, 20, f"Logins a second, as multiples of {base}'s in the same rounds; longer is better")]
    x = 16.0
    for name, colour in [*colours.items(), ("libldap alone: the directory's limit", _LIMIT)]:
        parts.append(f'<rect x="{x:.1f}" y="31" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 14, 41, name))
        x += 40 + 6.4 * len(name)
    return parts


def _axis(most: float, per_multiple: float, height: int) -> list[str]:
    parts = []
    for step in range(int(2 * most) + 1):
        x = _LEFT + step / 2 * per_multiple
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - _BOTTOM + 4}" '
            f'stroke="{"#555" if step == 2 else "#ddd"}"/>'
        )
        if step % 2 == 0:
            parts.append(_text(x, height - _BOTTOM + 20, f"{step // 2} {TIMES}", anchor="middle"))
    return parts
