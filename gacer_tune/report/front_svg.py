"""What one tenant gains at another's cost: completion times of two tenants over all trials, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.report import svg
from gacer_tune.report.axes import SIZE, Axes
from gacer_tune.report.units import seconds_text
from gacer_tune.report.verdict import Choice

_MOST_DOTS = 600
_WIDEST = 2.5  # trials slower than this times the slowest point of the front are not shown
_ROOM = 1.05

Times = tuple[float, ...]


def rivals(choices: Sequence[Choice]) -> tuple[int, int]:
    """The two tenants between which the front leaves most to choose: those whose times differ most along it."""
    columns = list(zip(*(choice.tenants_s for choice in choices), strict=True))
    spread = [max(column) / min(column) if min(column) > 0 else 1.0 for column in columns]
    first, second = sorted(sorted(range(len(spread)), key=lambda t: -spread[t])[:2])
    return first, second


def front_svg(measured: Sequence[Times], choices: Sequence[Choice], tenants: Sequence[str]) -> str:
    """Trials as dots, the artifact's choices as diamonds with their names. At least two tenants and one choice."""
    across, up = rivals(choices)
    named = sorted((c.tenants_s[across], c.tenants_s[up], c.name) for c in choices)
    limits = [max(row[0] for row in named) * _WIDEST, max(row[1] for row in named) * _WIDEST]
    dots = [(t[across], t[up]) for t in measured if t[across] <= limits[0] and t[up] <= limits[1]]
    everything = [*dots, *((x, y) for x, y, _ in named)]
    low = tuple(min(point[axis] for point in everything) / _ROOM for axis in (0, 1))
    axes = Axes(max(x for x, _ in everything) * _ROOM, max(y for _, y in everything) * _ROOM, (low[0], low[1]))
    parts = axes.frame(f"{tenants[across]} done (across), {tenants[up]} done (up)", x_is_time=True)
    step = -(-len(dots) // _MOST_DOTS) or 1
    for x, y in dots[::step]:
        tip = f"{tenants[across]} {seconds_text(x)}\n{tenants[up]} {seconds_text(y)}"
        parts.append(svg.dot(axes.at(x, y), "trial", tip))
    parts.append(svg.polyline([axes.at(x, y) for x, y, _ in named], "best"))
    for number, (x, y, name) in enumerate(named):
        place = axes.at(x, y)
        tip = f"{name}\n{tenants[across]} {seconds_text(x)}\n{tenants[up]} {seconds_text(y)}"
        parts.append(svg.diamond(place, "choice", tip))
        # Neighbours on the front lie close together, so their names go above and below it in turn.
        side, anchor = ((8.0, -7.0), "start") if number % 2 == 0 else ((-8.0, 16.0), "end")
        if place[0] > 0.8 * SIZE[0]:
            anchor = "end"
        if place[0] < 0.25 * SIZE[0]:
            side, anchor = (8.0, -7.0), "start"
        parts.append(svg.text((place[0] + side[0], place[1] + side[1]), name, anchor, "name"))
    return svg.figure(SIZE, f"completion of {tenants[across]} against {tenants[up]}", parts)
