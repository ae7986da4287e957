"""How the search went, and how good the predictions were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.report import svg
from gacer_tune.report.axes import SIZE, Axes
from gacer_tune.report.units import seconds_text

Point = tuple[float, float]

_OFF_SCALE = 2.0  # trials slower than this times the baseline are drawn at the upper edge
_MOST_DOTS = 1000


@dataclass(frozen=True, slots=True)
class Curve:
    """Best seconds so far of one strategy: at its first trial, and wherever it got better; `trials` that it made."""

    name: str
    best: tuple[Point, ...]
    trials: int


def convergence_svg(measured: Sequence[Point], best: Sequence[Point], baseline_s: float) -> str:
    """Each trial a dot, the best so far a line, the best baseline a dashed line."""
    last = max((number for number, _ in measured), default=0.0)
    axes = Axes(max(last, 1.0), min(max((s for _, s in measured), default=0.0), _OFF_SCALE * baseline_s) * 1.05)
    parts = axes.frame("trial", x_is_time=False)
    step = -(-len(measured) // _MOST_DOTS) or 1
    parts += [svg.dot(axes.at(n, s), "trial", f"trial {n:.0f}: {seconds_text(s)}") for n, s in measured[::step]]
    parts.append(svg.line(axes.at(0, baseline_s), axes.at(axes.right, baseline_s), "baseline"))
    parts.append(_steps(axes, best, last))
    return svg.figure(SIZE, f"best so far after {last:.0f} trials", parts)


def strategies_svg(curves: Sequence[Curve], baseline_s: float) -> str:
    """The best so far of each strategy over the trials that it made itself, on a scale that shows their difference."""
    values = [s for curve in curves for _, s in curve.best] or [baseline_s]
    top, low = max(baseline_s, *values), min(baseline_s, *values)
    margin = 0.1 * (top - low) or 0.05 * top
    axes = Axes(max((c.trials for c in curves), default=1), top + margin, (0.0, max(low - margin, 0.0)))
    parts = axes.frame("trials of its own", x_is_time=False)
    parts.append(svg.line(axes.at(0, baseline_s), axes.at(axes.right, baseline_s), "baseline"))
    for number, curve in enumerate(curves):
        tip = f"{curve.name}: {seconds_text(curve.best[-1][1])} after {curve.trials} trials" if curve.best else ""
        parts.append(_steps(axes, curve.best, curve.trials, f'style="stroke:{svg.colour(number)}"', tip))
    return svg.figure(SIZE, "best so far of each strategy", parts)


def _steps(axes: Axes, best: Sequence[Point], last: float, style: str = "", tip: str = "") -> str:
    """Down where a trial was better, level up to the next one."""
    corners = []
    for index, (number, seconds) in enumerate(best):
        following = best[index + 1][0] if index + 1 < len(best) else last
        corners += [axes.at(number, seconds), axes.at(following, seconds)]
    return svg.polyline(corners, "best", tip, style)


def predictions_svg(points: Sequence[Point]) -> str:
    """Predicted against measured seconds; on the diagonal they agree."""
    top = max((max(point) for point in points), default=0.0) * 1.05
    axes = Axes(top, top)
    parts = axes.frame("predicted", x_is_time=True)
    parts.append(svg.line(axes.at(0, 0), axes.at(axes.right, axes.top), "baseline"))
    for predicted, measured in points:
        tip = f"predicted {seconds_text(predicted)}, measured {seconds_text(measured)}"
        parts.append(svg.dot(axes.at(predicted, measured), "trial", tip))
    return svg.figure(SIZE, f"predicted against measured seconds of {len(points)} trials", parts)
