"""Small pieces of SVG. Text is escaped here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

COLOURS = 8  # the page defines --t0 to --t7


def colour(tenant: int) -> str:
    return f"var(--t{tenant % COLOURS})"


def letter(tenant: int) -> str:
    """The tenant in one character: A to Z, a to z, then `*`."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return letters[tenant] if tenant < len(letters) else "*"


def figure(size: tuple[float, float], label: str, parts: list[str]) -> str:
    """An image of this width and height that scales with the page; `label` is what a screen reader says."""
    width, height = size
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">' + "".join(parts) + "</svg>"
    )


def text(at: tuple[float, float], words: str, anchor: str = "start", css: str = "") -> str:
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" class="{css}">{escape(words)}</text>'


def line(start: tuple[float, float], end: tuple[float, float], css: str) -> str:
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" class="{css}"/>'


def polyline(corners: Sequence[tuple[float, float]], css: str, tip: str = "", more: str = "") -> str:
    """A line through all corners; `more`: further attributes, escaped already."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    rest = " ".join(filter(None, (f'data-tip="{escape(tip)}"' if tip else "", more)))
    return f'<polyline points="{points}" class="{css}"{" " + rest if rest else ""}/>'


def dot(at: tuple[float, float], css: str, tip: str) -> str:
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5" class="{css}" data-tip="{escape(tip)}"/>'


def diamond(at: tuple[float, float], css: str, tip: str) -> str:
    x, y = at
    corners = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
    return f'<polygon points="{corners}" class="{css}" data-tip="{escape(tip)}"/>'


def ticks(top: float, most: int = 6) -> list[float]:
    """Round numbers from 0 up to `top`, at most `most` steps apart by 1, 2 or 5 times a power of ten."""
    if not top > 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) <= most)
    return [step * number for number in range(math.floor(top / step + 1e-9) + 1)]
