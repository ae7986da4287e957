"""What is measured after the search: the table of completions, the front, the recorded run."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from gacer_tune.completions import TRACES, measure_front, measure_rows, typical_trace
from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.seeds import baselines
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.support.workloads import chain, random_profile

PAIR = Workload((chain("a", (1, 4, 2), variants=2), chain("b", (2, 3), variants=2)))
PROFILE = random_profile(random.Random(3), PAIR)
DEVICE = SimulatedDevice(PAIR, PROFILE, 2)
PREPARED: Any = SimpleNamespace(workload=PAIR, profile=PROFILE)


def completions(schedule: Schedule) -> tuple[float, ...]:
    result = DEVICE.measure(schedule, 1)
    assert isinstance(result, Timing)
    return (*result.tenants_s, result.median_s)


def test_the_table_has_every_baseline_and_the_tail() -> None:
    known = baselines(PAIR, PROFILE, 2)
    best = known["breadth_first"]
    rows = measure_rows(PREPARED, DEVICE, best)
    assert [row.name for row in rows] == ["a", "b", "together"]
    for field in ("sequential", "lane_per_tenant", "breadth_first"):
        assert [getattr(row, f"{field}_s") for row in rows] == pytest.approx(completions(known[field]))
    assert [row.tuned_s for row in rows] == pytest.approx(completions(best))
    noisy = measure_rows(PREPARED, SimulatedDevice(PAIR, PROFILE, 2, noise=0.1), best)
    assert all(row.tuned_p95_s > row.tuned_s for row in noisy)
    assert all(row.tuned_s == row.breadth_first_s for row in noisy), "a baseline is as fast as itself, also with noise"


def test_a_schedule_that_does_not_run_any_more_is_told() -> None:
    best = baselines(PAIR, PROFILE, 2)["sequential"]
    broken = SimulatedDevice(PAIR, PROFILE, 2, faults={best.digest: Failure("crash", "signal 11")})
    with pytest.raises(UserError, match="a schedule that ran before failed when it was measured again: signal 11"):
        measure_rows(PREPARED, broken, best)


@dataclasses.dataclass(frozen=True)
class Stumbling(SimulatedDevice):
    """The third measurement of all fails."""

    calls: Iterator[int] = dataclasses.field(default_factory=count)

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        if next(self.calls) == 2:
            return Failure("timeout", "no answer within 20 s")
        return super().measure(schedule, repeats, give_up_s)


def test_a_moment_in_which_the_machine_stood_still_costs_no_search() -> None:
    best = baselines(PAIR, PROFILE, 2)["sequential"]
    assert measure_rows(PREPARED, Stumbling(PAIR, PROFILE, 2), best) == measure_rows(PREPARED, DEVICE, best)


def test_the_front_is_measured_again_and_named() -> None:
    trials = list(tune(PAIR, DEVICE, PROFILE, TuneOptions(math.inf, 60, "random")))
    best = min(trials, key=lambda trial: completions(trial.schedule)[-1]).schedule
    found = measure_front(DEVICE, trials, best)
    names = [point.name for point in found.values()]
    assert sorted(set(names)) == sorted(names)
    assert {name for name in names if name != "best"} == {f"front{n}" for n in range(len(names) - (best in found))}
    assert len(names) >= 2
    for schedule, point in found.items():
        assert (*point.tenants_s, point.together_s) == pytest.approx(completions(schedule))
        assert (point.name == "best") == (schedule == best)


@dataclasses.dataclass(frozen=True)
class Slowing(SimulatedDevice):
    """Each run takes 1 % longer than the one before."""

    runs: Iterator[int] = dataclasses.field(default_factory=count)

    def _factor(self) -> float:
        return 1 + 0.01 * next(self.runs)


def test_no_point_of_the_front_is_at_an_advantage_while_the_machine_changes() -> None:
    trials = list(tune(PAIR, DEVICE, PROFILE, TuneOptions(math.inf, 60, "random")))
    best = min(trials, key=lambda trial: completions(trial.schedule)[-1]).schedule
    found = measure_front(Slowing(PAIR, PROFILE, 2), trials, best)
    slower = [point.together_s / completions(schedule)[-1] for schedule, point in found.items()]
    assert len(found) > 2
    assert max(slower) < 1.05 * min(slower)


def test_a_lucky_run_does_not_make_a_choice() -> None:
    """A trial that seemed to be the best for tenant a is not, when it is measured again."""
    trials = list(tune(PAIR, DEVICE, PROFILE, TuneOptions(math.inf, 60, "random")))
    best = min(trials, key=lambda trial: completions(trial.schedule)[-1]).schedule
    worst = max(trials, key=lambda trial: sum(completions(trial.schedule)))
    lucky = Trial(worst.schedule, Timing((1e-9,), (1e-9, 1e-9)), "random", 99)
    assert lucky.schedule not in measure_front(DEVICE, [*trials, lucky], best)


def test_the_recorded_run_is_the_one_in_the_middle() -> None:
    ends = iter([3.0, 9.0, 1.0, 2.0, 2.5])

    class Tracer:
        def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
            del schedule
            return [(0, 0, 0, 0.0, next(ends))]

    assert TRACES == 5
    assert typical_trace(Tracer(), baselines(PAIR, PROFILE, 2)["sequential"]) == [(0, 0, 0, 0.0, 2.5)]
