"""The curves of docs/search.md as an image: `python -m tests.replay.chart` draws the page's own table."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from math import log2
from pathlib import Path

from gacer_tune.report import svg

PAGE = Path(__file__).parents[2] / "docs" / "search.md"
ROW = re.compile(r"\| (\S+) \| (\d+) \|(?: [\d.]+ ms \|){4} ([\d.]+) \| [\d.]+ \|")
COLOURS = ("#2a78d6", "#1baf7a", "#b97a00", "#e34948")
LEFT, RIGHT, TOP, BOTTOM = 60.0, 560.0, 20.0, 260.0
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#5f5e5a}.grid{stroke:#dddcd6}"
    ".curve{fill:none;stroke-width:2.5}@media(prefers-color-scheme:dark){text{fill:#a8a69e}.grid{stroke:#3a3935}}"
)

Curves = dict[str, list[tuple[int, float]]]


def curves(page: str) -> Curves:
    """(cores, speed-up over sequential) by mix, from the rows of the table."""
    rows = [(found[1], int(found[2]), float(found[3])) for found in ROW.finditer(page)]
    return {name: [(cores, gain) for _, cores, gain in group] for name, group in groupby(rows, lambda row: row[0])}


def chart(found: Curves) -> str:
    """Cores on a logarithmic scale across, speed-up from 1 upwards."""
    top = max(gain for points in found.values() for _, gain in points)
    top = max(1.5, top * 1.05)

    def at(cores: int, gain: float) -> tuple[float, float]:
        across = (log2(cores) - 1) / 5
        return LEFT + (RIGHT - LEFT) * across, BOTTOM - (BOTTOM - TOP) * (gain - 1) / (top - 1)

    parts = [f"<style>{STYLE}</style>"]
    for gain in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5):
        parts.append(svg.line(at(2, gain), at(64, gain), "grid"))
        parts.append(svg.text((LEFT - 8, at(2, gain)[1] + 4), f"{gain:.1f}x", "end"))
    parts += [svg.text((at(cores, 1.0)[0], BOTTOM + 20), str(cores), "middle") for cores in (2, 4, 8, 16, 32, 64)]
    parts.append(svg.text((RIGHT, BOTTOM + 38), "cores of the simulated machine", "end"))
    for number, (name, points) in enumerate(found.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(svg.polyline([at(*point) for point in points], "curve", more=f'stroke="{colour}"'))
        parts.append(f'<circle cx="{LEFT + 20}" cy="{TOP + 8 + 18 * number}" r="5" fill="{colour}"/>')
        parts.append(svg.text((LEFT + 32, TOP + 12 + 18 * number), name))
    label = escape("speed-up of the tuned plan over our sequential plan")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 310" role="img" aria-label="{label}">'
        + "\n".join(parts)
        + "</svg>\n"
    )


def main() -> None:
    PAGE.with_suffix(".svg").write_text(chart(curves(PAGE.read_text())))


if __name__ == "__main__":
    main()
