"""The tables of the report page, as HTML with everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gacer_tune.report import svg
from gacer_tune.report.content import FailureCount
from gacer_tune.report.units import seconds_text
from gacer_tune.report.verdict import Choice, Gain, words
from gacer_tune.search.sizes import Sized, sizes_text


def gains(rows: Sequence[Gain], slow_downs: Sequence[float] = ()) -> str:
    """Completion times of each tenant and of all together; slow_downs: of each tenant, against running alone."""
    heads = (
        "", "sequential", "one lane per tenant", "breadth first", "tuned", "tuned, 95 %", "gain", "against alone",
    )  # fmt: skip
    cells = []
    for number, row in enumerate(rows):
        together = number == len(rows) - 1
        swatch = "" if together else _swatch(number)
        times = (row.sequential_s, row.lane_per_tenant_s, row.breadth_first_s, row.tuned_s, row.tuned_p95_s)
        slow_down = f"{slow_downs[number]:.2f}x" if number < len(slow_downs) else ""
        cells.append([f"{swatch}{escape(row.name)}", *map(_measured, times), f"{row.gain:.2f}x", slow_down])
    return _table(heads, cells, "numbers")


def choices(tenants: Sequence[str], rows: Sequence[Choice]) -> str:
    """The Pareto front: in each column the least time is marked."""
    columns = [(*row.tenants_s, row.together_s) for row in rows]
    least = [min(column) for column in zip(*columns, strict=True)]
    cells = [
        [
            escape(row.name),
            *(f"<b>{_measured(s)}</b>" if s == m else _measured(s) for s, m in zip(times, least, strict=True)),
        ]
        for row, times in zip(rows, columns, strict=True)
    ]
    return _table(("schedule", *tenants, "together"), cells, "numbers plain")


def sizes(found: Sized) -> str:
    """What was measured to find batch and instances; the chosen ones are marked."""
    cells = []
    for probe in found.probes:
        text = escape(sizes_text(found.names, probe.sizes))
        text = f"<b>{text}</b>" if probe.sizes == found.chosen else text
        cells.append([text, escape(words(probe.plan)), _measured(probe.round_s), escape(probe.outcome)])
    return _table(("batch x instances", "fastest usual way", "a round", "rate"), cells)


def _measured(seconds: float) -> str:
    return escape(seconds_text(seconds)) if seconds > 0 else "-"


def failures(rows: Sequence[FailureCount]) -> str:
    cells = [[escape(row.kind), str(row.count), escape(row.message)] for row in rows]
    return _table(("kind", "trials", "the first one"), cells)


def environment(rows: Sequence[tuple[str, str]]) -> str:
    return _table((), [[escape(key), escape(value)] for key, value in rows], "facts")


def legend(names: Sequence[str], letters: bool = True) -> str:
    """Names with their colours; letters: also with what stands for a tenant in the lanes."""
    items = "".join(f"<li>{_swatch(number, letters)}{escape(name)}</li>" for number, name in enumerate(names))
    return f'<ul class="legend">{items}</ul>'


def _swatch(number: int, letters: bool = True) -> str:
    text = svg.letter(number) if letters else "&nbsp;"
    return f'<span class="swatch" style="background:{svg.colour(number)}">{text}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """Cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table class="{css}">{top}<tbody>{body}</tbody></table></div>'
