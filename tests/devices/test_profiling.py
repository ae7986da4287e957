"""How often a plan is run while it is profiled: long ones without a run that only warms up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gacer_tune.devices import profiling
from gacer_tune.devices.profiling import WARM_S

LONG, SHORT = 4 * WARM_S, WARM_S / 4


class Runs:
    """A bench whose plan of two rows takes these times, in turn; the last one for ever."""

    hertz = 1.0

    def __init__(self, *seconds: float) -> None:
        self.left, self.ran = list(seconds), 0
        self.session = SimpleNamespace(run=self.seconds)

    def seconds(self, loaded: Any) -> float:
        self.ran += 1
        took = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        loaded.times[:] = [[0, took / 4], [took / 4, took]]
        return took


def profiled(bench: Any, *rounds: int) -> profiling._Timed:
    """A plan after rounds of so many runs."""
    loaded: Any = SimpleNamespace(times=np.zeros((2, 2)))
    timed = profiling._Timed(loaded, np.full(2, np.inf))
    for runs in rounds:
        profiling._run(bench, timed, runs)
    return timed


@pytest.mark.parametrize(("seconds", "ran"), [(LONG, 1 + 3 + 3), (SHORT, 2 + 4 + 4)])
def test_only_short_plans_are_warmed_up(seconds: float, ran: int) -> None:
    bench = Runs(seconds)
    timed = profiled(bench, 1, 3, 3)
    assert bench.ran == ran
    assert timed.best.tolist() == pytest.approx([seconds / 4, seconds * 3 / 4])


def test_the_shortest_run_counts_and_the_first_of_a_long_plan_is_one() -> None:
    assert profiled(Runs(LONG, 2 * LONG), 3).best.sum() == pytest.approx(LONG)
    assert profiled(Runs(3 * LONG, 2 * LONG, LONG, 2 * LONG), 4).best.sum() == pytest.approx(LONG)


def test_the_first_run_of_a_short_plan_does_not_count() -> None:
    assert profiled(Runs(SHORT / 2, SHORT), 3).best.sum() == pytest.approx(SHORT)
