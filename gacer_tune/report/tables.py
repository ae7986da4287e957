"""The tables of the report page, as HTML with everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gacer_tune.report import svg
from gacer_tune.report.content import FailureCount
from gacer_tune.report.units import seconds_text
from gacer_tune.report.verdict import Gain


def gains(rows: Sequence[Gain]) -> str:
    """Completion times of each tenant and of all together."""
    heads = ("", "sequential", "one lane per tenant", "tuned", "gain")
    cells = []
    for number, row in enumerate(rows):
        together = number == len(rows) - 1
        swatch = "" if together else _swatch(number)
        times = (seconds_text(s) for s in (row.sequential_s, row.lane_per_tenant_s, row.tuned_s))
        cells.append([f"{swatch}{escape(row.name)}", *map(escape, times), f"{row.gain:.2f}x"])
    return _table(heads, cells, "numbers")


def failures(rows: Sequence[FailureCount]) -> str:
    cells = [[escape(row.kind), str(row.count), escape(row.message)] for row in rows]
    return _table(("kind", "trials", "the first one"), cells)


def environment(rows: Sequence[tuple[str, str]]) -> str:
    return _table((), [[escape(key), escape(value)] for key, value in rows], "facts")


def legend(tenants: Sequence[str]) -> str:
    items = "".join(f"<li>{_swatch(number)}{escape(name)}</li>" for number, name in enumerate(tenants))
    return f'<ul class="legend">{items}</ul>'


def _swatch(tenant: int) -> str:
    return f'<span class="swatch" style="background:{svg.colour(tenant)}">{svg.letter(tenant)}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """Cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table class="{css}">{top}<tbody>{body}</tbody></table></div>'
