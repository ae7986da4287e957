"""How the search went, and how good the predictions were."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.report import svg
from gacer_tune.report.content import Point
from gacer_tune.report.units import seconds_text, tick_text

_SIZE = (480.0, 300.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 14.0, 12.0, 40.0
_OFF_SCALE = 2.0  # trials slower than this times the baseline are drawn at the upper edge
_MOST_DOTS = 1000


class _Axes:
    """Maps values to places. x from 0 to `right`, y from 0 to `top`; what is above is drawn at the edge."""

    def __init__(self, right: float, top: float) -> None:
        self.right, self.top = right or 1.0, top or 1.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, down = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
        return _LEFT + across * x / self.right, _TOP + down * (1 - min(y, self.top) / self.top)

    def frame(self, name: str, x_is_time: bool) -> list[str]:
        """Grid, numbers, and the name of the axis across."""
        parts = []
        for y in svg.ticks(self.top):
            parts.append(svg.line(self.at(0, y), self.at(self.right, y), "grid"))
            left, down = self.at(0, y)
            parts.append(svg.text((left - 6, down + 4), tick_text(y), "end", "quiet"))
        for x in svg.ticks(self.right):
            left, down = self.at(x, 0)
            label = tick_text(x) if x_is_time else f"{x:g}"
            parts.append(svg.text((left, down + 16), label, "middle", "quiet"))
        parts.append(svg.text((_SIZE[0] - _RIGHT, _SIZE[1] - 6), name, "end", "quiet"))
        return parts


def convergence_svg(measured: Sequence[Point], best: Sequence[Point], baseline_s: float) -> str:
    """Each trial a dot, the best so far a line, the best baseline a dashed line."""
    last = max((number for number, _ in measured), default=0.0)
    axes = _Axes(max(last, 1.0), min(max((s for _, s in measured), default=0.0), _OFF_SCALE * baseline_s) * 1.05)
    parts = axes.frame("trial", x_is_time=False)
    step = -(-len(measured) // _MOST_DOTS) or 1
    parts += [svg.dot(axes.at(n, s), "trial", f"trial {n:.0f}: {seconds_text(s)}") for n, s in measured[::step]]
    parts.append(svg.line(axes.at(0, baseline_s), axes.at(axes.right, baseline_s), "baseline"))
    parts.append(_steps(axes, best, last))
    return svg.figure(_SIZE, f"best so far after {last:.0f} trials", parts)


def _steps(axes: _Axes, best: Sequence[Point], last: float) -> str:
    """Down where a trial was better, level up to the next one."""
    corners = []
    for index, (number, seconds) in enumerate(best):
        following = best[index + 1][0] if index + 1 < len(best) else last
        corners += [axes.at(number, seconds), axes.at(following, seconds)]
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}" class="best"/>'


def predictions_svg(points: Sequence[Point]) -> str:
    """Predicted against measured seconds; on the diagonal they agree."""
    top = max((max(point) for point in points), default=0.0) * 1.05
    axes = _Axes(top, top)
    parts = axes.frame("predicted by the timeline", x_is_time=True)
    parts.append(svg.line(axes.at(0, 0), axes.at(axes.right, axes.top), "baseline"))
    for predicted, measured in points:
        tip = f"predicted {seconds_text(predicted)}, measured {seconds_text(measured)}"
        parts.append(svg.dot(axes.at(predicted, measured), "trial", tip))
    return svg.figure(_SIZE, f"predicted against measured seconds of {len(points)} trials", parts)
