"""The charts of the search."""

from __future__ import annotations

import re

from gacer_tune.report.charts import convergence_svg, predictions_svg


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
