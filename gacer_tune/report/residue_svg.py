"""GACER's residue over time: how many lanes have nothing to do at each moment of a run."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.report import svg
from gacer_tune.report.axes import SIZE, Axes
from gacer_tune.report.track import Track
from gacer_tune.report.units import seconds_text

_BINS = 120  # so that thousands of slices make a line that can be read

Point = tuple[float, float]


def residue(track: Track, until_s: float, bins: int = _BINS) -> list[float]:
    """Mean number of idle lanes in each of `bins` equal parts of [0, until_s]; after the end of the run all are."""
    width = until_s / bins
    busy = [0.0] * bins
    for span in track.spans:
        first, last = int(span.begin_s / width), min(int(span.end_s / width), bins - 1)
        for part in range(first, last + 1):
            busy[part] += max(0.0, min(span.end_s, (part + 1) * width) - max(span.begin_s, part * width))
    return [max(0.0, track.lanes - seconds / width) for seconds in busy]


def residue_svg(before: Track, after: Track) -> str:
    """Idle lanes of both runs, each up to its end: dashed before, solid after."""
    until_s = max(before.end_s, after.end_s)
    axes = Axes(until_s, max(before.lanes, after.lanes))
    parts = axes.frame("time", x_is_time=True, y_is_time=False)
    for track, css, when in ((before, "baseline line", "before"), (after, "best", "after")):
        if track.end_s > 0:
            share = residue_share(track)
            tip = f"{when}: {share:.0%} of the lane time idle in {seconds_text(track.end_s)}"
            parts.append(svg.polyline(_corners(axes, residue(track, track.end_s), track.end_s), css, tip))
    return svg.figure(SIZE, "idle lanes over time", parts)


def residue_share(track: Track) -> float:
    """Lane-seconds without work over all lane-seconds of the run; 0 for an empty run."""
    return 1 - sum(track.busy) / track.lanes if track.end_s > 0 else 0.0


def _corners(axes: Axes, levels: Sequence[float], end_s: float) -> list[Point]:
    width = end_s / len(levels)
    corners = []
    for number, level in enumerate(levels):
        corners += [axes.at(number * width, level), axes.at((number + 1) * width, level)]
    return corners
