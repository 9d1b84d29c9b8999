"""Inline SVG: shapes as text, and boxes that know their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


def svg(width: float, height: float, label: str, body: str, margin: float = 0) -> str:
    """A whole drawing of that many pixels; it shrinks with the page, never grows."""
    box = f"{-margin:g} {-margin:g} {width:.0f} {height:.0f}"
    size = f'width="{width:.0f}" height="{height:.0f}"'
    return f'<svg viewBox="{box}" {size} role="img" aria-label="{escape(label)}">{body}</svg>'


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> str:
    """A rectangle of CSS class `kind`."""
    corner = f' rx="{radius:g}"' if radius else ""
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(0.0, width))}" height="{_n(height)}"{corner} class="{kind}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "") -> str:
    """Words with their baseline at y."""
    end = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" class="{kind}"{end}>{escape(words)}</text>'


def at(x: float, y: float, body: str) -> str:
    """A drawing moved to x, y."""
    return f'<g transform="translate({_n(x)} {_n(y)})">{body}</g>'


def titled(title: str, body: str) -> str:
    """A drawing that says what it is when pointed at."""
    return f"<g><title>{escape(title)}</title>{body}</g>"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(slots=True)
class Part:
    """A piece of a drawing with its size; `svg` is drawn from 0,0."""

    width: float
    height: float
    svg: str


def wrap(parts: Sequence[Part], limit: float, gap: float = 6) -> Part:
    """Parts in rows, left to right, none wider than `limit` if a single part is not."""
    x = y = row = width = 0.0
    out = []
    for part in parts:
        if x and x + part.width > limit:
            x, y, row = 0.0, y + row + gap, 0.0
        out.append(at(x, y, part.svg))
        x += part.width + gap
        row = max(row, part.height)
        width = max(width, x - gap)
    return Part(width, y + row, "".join(out))


def stack(parts: Sequence[Part], gap: float = 6) -> Part:
    y = 0.0
    out = []
    for part in parts:
        if not part.svg:
            continue
        out.append(at(0, y, part.svg))
        y += part.height + gap
    return Part(max([p.width for p in parts] + [0.0]), max(0.0, y - gap), "".join(out))


def frame(part: Part, label: str, kind: str, title: str = "") -> Part:
    """A labelled box around a part."""
    pad, head, base = (8, 21, 14) if kind != "l3" else (4, 12, 9)
    wide = max(part.width, len(label) * (6.1 if kind != "l3" else 4.6)) + 2 * pad
    high = part.height + head + pad
    tip = f"<title>{escape(title)}</title>" if title else ""
    return Part(
        wide,
        high,
        f"<g>{tip}{rect(0, 0, wide, high, f'f-{kind}', 6 if kind != 'l3' else 3)}"
        f"{text(pad, base, label, f'n-{kind}')}{at(pad, head, part.svg)}</g>",
    )
