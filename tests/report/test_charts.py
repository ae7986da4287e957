"""The charts of the search."""

from __future__ import annotations

import re

import pytest

from gacer_tune.report.axes import SIZE, Axes
from gacer_tune.report.charts import Curve, convergence_svg, predictions_svg, strategies_svg
from gacer_tune.report.front_svg import front_svg, rivals
from gacer_tune.report.residue_svg import residue, residue_share, residue_svg
from gacer_tune.report.track import Span, Track
from gacer_tune.report.verdict import Choice


def _dots(image: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', image)]


def _line(image: str) -> list[tuple[float, float]]:
    found = re.search(r'<polyline points="([^"]*)"', image)
    assert found is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_the_best_so_far_goes_down_in_steps() -> None:
    measured = ((0, 0.020), (1, 0.025), (2, 0.016), (4, 0.018))
    image = convergence_svg(measured, ((0, 0.020), (2, 0.016)), 0.020)
    dots, line = _dots(image), _line(image)
    assert line == [dots[0], (dots[2][0], dots[0][1]), dots[2], (dots[3][0], dots[2][1])]
    assert dots[1][1] < dots[0][1] < dots[3][1] < dots[2][1]  # slower is higher


def test_what_is_off_the_scale_stays_in_the_picture() -> None:
    image = convergence_svg(((0, 0.020), (1, 9.0)), ((0, 0.020),), 0.020)
    assert all(0 < y < 300 for _, y in _dots(image))
    assert "trial 1: 9.00 s" in image


def test_many_trials_are_thinned_out() -> None:
    measured = tuple((float(n), 0.01) for n in range(12_345))
    assert 500 < len(_dots(convergence_svg(measured, ((0.0, 0.01),), 0.01))) <= 1000


def test_no_trials_are_an_empty_picture() -> None:
    assert _dots(convergence_svg((), (), 0.01)) == []
    assert _dots(predictions_svg(())) == []


def test_perfect_predictions_lie_on_the_diagonal() -> None:
    image = predictions_svg(((0.01, 0.01), (0.03, 0.03), (0.02, 0.01)))
    (x0, y0), (x1, y1), (x2, y2) = _dots(image)
    start, end = re.findall(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="baseline"', image)[0], None
    assert end is None
    left, bottom, right, top = map(float, start)
    for x, y in ((x0, y0), (x1, y1)):
        assert abs((x - left) / (right - left) - (y - bottom) / (top - bottom)) < 1e-2
    assert (x2 > x0) and y2 == y0


def test_each_strategy_has_its_line() -> None:
    curves = (Curve("evolve", ((0, 0.02), (2, 0.016)), 4), Curve("random <only>", ((0, 0.02), (3, 0.018)), 8))
    image = strategies_svg(curves, 0.02)
    lines = re.findall(r'<polyline points="([^"]*)" class="best" data-tip="([^"]*)" style="([^"]*)"', image)
    assert [tip for _, tip, _ in lines] == [
        "evolve: 16.0 ms after 4 trials", "random &lt;only&gt;: 18.0 ms after 8 trials"
    ]  # fmt: skip
    assert [style for _, _, style in lines] == ["stroke:var(--t0)", "stroke:var(--t1)"]
    ends = [[float(x) for x in points.split()[-1].split(",")] for points, _, _ in lines]
    assert ends[0][0] < ends[1][0], "it made fewer trials"
    assert ends[0][1] > ends[1][1], "it is faster"


def test_without_strategies_there_is_an_empty_picture() -> None:
    assert "<polyline" not in strategies_svg((), 0.02)


def track(*spans: tuple[int, float, float], lanes: int = 2) -> Track:
    return Track("t", ("a",), lanes, tuple(Span(lane, 0, "op", 0, begin, end, 0.0) for lane, begin, end in spans))


def test_idle_lanes_by_hand() -> None:
    """Lane 0 is busy from 0 to 4, lane 1 from 1 to 2."""
    run = track((0, 0.0, 4.0), (1, 1.0, 2.0))
    assert residue(run, 4.0, 4) == pytest.approx([1.0, 0.0, 1.0, 1.0])
    assert residue(run, 4.0, 2) == pytest.approx([0.5, 1.0])
    assert residue(run, 8.0, 4) == pytest.approx([0.5, 1.0, 2.0, 2.0]), "after the end all lanes are idle"
    assert residue_share(run) == pytest.approx(3 / 8)
    assert residue_share(track()) == 0.0


def test_the_residue_of_both_runs_is_drawn_to_its_own_end() -> None:
    image = residue_svg(track((0, 0.0, 4.0)), track((0, 0.0, 2.0), (1, 0.0, 2.0)))
    tips = re.findall(r'data-tip="([^"]*)"', image)
    assert tips == ["before: 50% of the lane time idle in 4.00 s", "after: 0% of the lane time idle in 2.00 s"]
    before, after = re.findall(r'points="([^"]*)"', image)
    assert float(before.split()[-1].split(",")[0]) > float(after.split()[-1].split(",")[0])
    assert "<polyline" not in residue_svg(track(), track())


CHOICES = (Choice("best", (0.010, 0.020, 0.03), 0.03), Choice("front0", (0.012, 0.010, 0.03), 0.03))


def test_the_front_is_drawn_for_the_tenants_that_differ_most() -> None:
    assert rivals(CHOICES) == (0, 1)
    assert rivals((Choice("x", (1.0, 5.0, 2.0), 5.0), Choice("y", (1.0, 4.0, 9.0), 9.0))) == (1, 2)


def test_choices_are_named_and_trials_far_off_are_left_out() -> None:
    measured = ((0.011, 0.015, 0.03), (0.02, 0.02, 0.03), (9.0, 0.02, 0.03))
    image = front_svg(measured, CHOICES, ("a", "<b>", "c"))
    assert len(_dots(image)) == 2
    assert re.findall(r'class="name">([^<]*)<', image) == ["best", "front0"]
    assert "&lt;b&gt; done (up)" in image and "<b>" not in image
    diamonds = [
        tuple(map(float, points.split()[0].split(","))) for points in re.findall(r'<polygon points="([^"]*)"', image)
    ]
    assert diamonds[0][0] < diamonds[1][0] and diamonds[0][1] < diamonds[1][1], "best is left of front0 and above it"


@pytest.mark.parametrize("right", [0.0005, 0.02, 0.5, 500.0])
def test_labels_of_ticks_at_the_edge_are_not_cut(right: float) -> None:
    """Letters of 12 px are 7 px wide, at most."""
    frame = "".join(Axes(right, 1).frame("x", x_is_time=True))
    labels = re.findall(r'<text x="([\d.]+)" [^>]*text-anchor="middle"[^>]*>([^<]*)<', frame)
    assert float(labels[-1][0]) > SIZE[0] - 30
    assert all(float(x) + 7 * len(label) / 2 <= SIZE[0] for x, label in labels)
