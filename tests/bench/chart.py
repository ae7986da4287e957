"""docs/benchmarks.svg: a bar for each entry and peer, as long as the ratio of the peer's time to ours."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.report import svg
from tests.bench.records import Entry
from tests.bench.render import TITLES, peers_of

WIDTH, LEFT, RIGHT = 900.0, 270.0, 60.0
BAR, GAP, TITLE = 9.0, 8.0, 30.0
MOST = 3.0  # longer bars are cut here; the number behind them says how long they are
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:14px}.number{font-size:10px}"
    ".grid{stroke:#ccc}.even{stroke:#333;stroke-width:1.5}.p0{fill:#2a78d6}.p1{fill:#1baf7a}.p2{fill:#999}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.even{stroke:#ddd}}"
)


def chart(entries: Sequence[Entry]) -> str:
    """A whole SVG file; entries without a comparison are left out."""
    compared = [entry for entry in entries if entry.bench]
    peers = peers_of(compared)
    parts, top = _legend(peers), TITLE
    for kind, title in TITLES.items():
        rows = [entry for entry in compared if entry.kind == kind]
        if rows:
            block, top = _block(title, rows, peers, top)
            parts += block
    view = f'viewBox="0 0 {WIDTH:g} {top:g}" width="{WIDTH:g}" height="{top:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {view}><style>{STYLE}</style>{"".join(parts)}</svg>\n'


def _block(title: str, rows: Sequence[Entry], peers: Sequence[str], top: float) -> tuple[list[str], float]:
    """The bars of one set below `top`, and where they end."""
    first = top + TITLE
    height = len(peers) * BAR + GAP
    bottom = first + height * len(rows)
    parts = [svg.text((0, top + 18), title, css="title")]
    for mark in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, MOST):
        parts.append(svg.line((_x(mark), first - 4), (_x(mark), bottom), "grid"))
        parts.append(svg.text((_x(mark), bottom + 14), f"{mark:g}", "middle"))
    for number, entry in enumerate(rows):
        y = first + number * height
        parts.append(svg.text((LEFT - 8, y + height / 2), entry.name, "end"))
        for place, peer in enumerate(peers):
            parts += _bar(entry, peer, place, y + place * BAR)
    parts.append(svg.line((_x(1.0), first - 4), (_x(1.0), bottom), "even"))
    return parts, bottom + TITLE


def _bar(entry: Entry, peer: str, place: int, y: float) -> list[str]:
    line = entry.best_of(peer)
    if line is None:
        return []
    end = _x(min(MOST, line["ratio"]))
    return [
        f'<rect x="{LEFT:.1f}" y="{y:.1f}" width="{end - LEFT:.1f}" height="{BAR - 1:.1f}" class="p{place % 3}"/>',
        svg.text((end + 4, y + BAR - 1), f"{line['ratio']:.2f}", css="number"),
    ]


def _legend(peers: Sequence[str]) -> list[str]:
    parts = [svg.text((0, 18), "time of the peer's best mode / our time; beyond the dark line we are faster")]
    for place, peer in enumerate(peers):
        x = WIDTH / 2 + 110 * place
        parts.append(f'<rect x="{x + 70:.1f}" y="9.0" width="10.0" height="10.0" class="p{place % 3}"/>')
        parts.append(svg.text((x + 84, 18), peer))
    return parts


def _x(ratio: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * ratio / MOST
