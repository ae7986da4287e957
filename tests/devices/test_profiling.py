"""How often a plan is run while it is profiled, long ones without a run that only warms up, and which time counts."""

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


def profiled(bench: Any, *rounds: int, variants: tuple[int, int] = (0, 0)) -> profiling._Timed:
    """A plan of one kernel's two halves, or of two of its variants, after rounds of so many runs."""
    pieces = [SimpleNamespace(tenant=0, kernel=0, variant=variant) for variant in variants]
    loaded: Any = SimpleNamespace(times=np.zeros((2, 2)), table=SimpleNamespace(slices=pieces))
    timed = profiling._Timed(loaded)
    for runs in rounds:
        profiling._run(bench, timed, runs)
    return timed


def seconds_of(*plans: profiling._Timed, variants: int = 1) -> tuple[float, ...]:
    workload: Any = SimpleNamespace(tenants=[SimpleNamespace(kernels=[SimpleNamespace(variants=range(variants))])])
    ((row,),) = profiling._rows(workload, plans)
    return row


@pytest.mark.parametrize(("seconds", "ran"), [(LONG, 1 + 3 + 3), (SHORT, 2 + 4 + 4)])
def test_only_short_plans_are_warmed_up(seconds: float, ran: int) -> None:
    bench = Runs(seconds)
    timed = profiled(bench, 1, 3, 3)
    assert bench.ran == ran
    assert [times.tolist() for times in timed.runs] == 7 * [pytest.approx([seconds / 4, seconds * 3 / 4])]


def test_the_median_counts_and_the_first_run_of_a_long_plan_is_one() -> None:
    assert seconds_of(profiled(Runs(LONG, 2 * LONG, 9 * LONG), 3)) == pytest.approx((2 * LONG,))


def test_the_first_run_of_a_short_plan_does_not_count() -> None:
    assert seconds_of(profiled(Runs(SHORT / 2, SHORT, 9 * SHORT, SHORT), 3)) == pytest.approx((SHORT,))


def test_runs_of_all_plans_that_have_a_variant_count() -> None:
    first, again = profiled(Runs(LONG), 1, variants=(0, 1)), profiled(Runs(2 * LONG), 2)
    assert seconds_of(first, again, variants=2) == pytest.approx((2 * LONG, LONG * 3 / 4))
