from dataclasses import replace
from typing import Any

import pytest

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective, best_so_far, ranked, slow_down
from gacer_tune.search.trial import Failure, Result, Timing, Trial
from tests.support.workloads import chain

PAIR = Workload((chain("a", (4,), slo_s=2.0), chain("b", (4,), weight=3.0)))
SCHEDULE = sequential(PAIR, 1)


def trials(*results: Result) -> list[Trial]:
    return [Trial(SCHEDULE, result, "random", number) for number, result in enumerate(results)]


def test_makespan_is_the_median_run() -> None:
    assert Objective(PAIR).of(Timing((1.0, 5.0, 2.0), (9.0, 9.0))) == 2.0


def test_throughput_is_the_weighted_harmonic_mean() -> None:
    """a: weight 1, done at 2 s; b: weight 3, done at 4 s: 4 / (1/2 + 3/4)."""
    objective = Objective(PAIR, "throughput")
    assert objective.value(4.0, (2.0, 4.0)) == pytest.approx(4 / 1.25)
    assert objective.value(4.0, (4.0, 2.0)) < objective.value(4.0, (2.0, 4.0)), "the heavier tenant first"
    assert objective.value(4.0, (4.0, 4.0)) == pytest.approx(4.0)
    batched = Objective(Workload((replace(PAIR.tenants[0], batch=3), PAIR.tenants[1])), "throughput")
    assert batched.value(4.0, (2.0, 4.0)) == pytest.approx(6 / (3 / 2 + 3 / 4))
    assert objective.value(4.0, (0.0, 4.0)) == pytest.approx(4.0), "a tenant without work counts for nothing"


def test_an_slo_that_is_met_costs_nothing_and_a_missed_one_much() -> None:
    objective = Objective(PAIR, "slo")
    assert objective.value(5.0, (2.0, 5.0)) == 5.0
    assert objective.value(5.0, (2.2, 5.0)) == pytest.approx(5.0 * 2.0)
    assert objective.value(5.0, (2.0, 99.0)) == 5.0, "b has no slo"


def test_an_slo_is_about_the_tail() -> None:
    """a is done at 1 s in most runs, but at 3 s in every fifth: too late for an slo of 2 s."""
    completions = [(3.0 if i % 5 == 0 else 1.0, 5.0) for i in range(20)]
    timing = Timing.of_runs([5.0] * 20, completions)
    assert timing.tenants_s == (1.0, 5.0)
    assert Objective(PAIR, "slo").of(timing) == pytest.approx(5.0 * (1 + 10 * 0.5))
    assert Objective(PAIR, "slo").of(Timing(timing.seconds, timing.tenants_s)) == 5.0, "the tail is not known"
    assert Objective(PAIR, "throughput").of(timing) == Objective(PAIR, "throughput").value(5.0, (1.0, 5.0))


def test_fairness_is_the_largest_slow_down() -> None:
    """Alone a takes 1 s and b 4 s; together a is 5 times slower, b only 1.5 times: that is unfair to a."""
    objective = Objective(PAIR, "fairness", (1.0, 4.0))
    assert objective.value(6.0, (5.0, 6.0)) == pytest.approx(5.0 * 2.5)
    assert objective.value(9.0, (1.5, 9.0)) < objective.value(6.0, (5.0, 6.0)), "longer, and fairer"
    assert objective.of(Timing((6.0,), (2.0, 8.0))) == pytest.approx(2.0 * 2.5)
    assert slow_down((1.0, 2.0), (0.0, 0.0)) == 1.0, "nobody takes time"
    with pytest.raises(ValueError, match="objective fairness: 1 times alone, one for each tenant"):
        Objective(PAIR, "fairness", (1.0,))


@pytest.mark.parametrize(
    ("workload", "name", "text"),
    [
        (PAIR, "speed", "objective 'speed': one of makespan, throughput, slo, fairness"),
        (Workload(PAIR.tenants[1:]), "slo", "objective slo: no tenant has an slo, at least one must"),
    ],
)
def test_objectives_that_cannot_be_are_refused(workload: Workload, name: Any, text: str) -> None:
    with pytest.raises(UserError) as caught:
        Objective(workload, name)
    assert str(caught.value) == text


def test_failures_are_not_ranked() -> None:
    log = trials(
        Failure("crash", ""), Timing((3.0,), ()), Timing((1.0,), ()), Failure("timeout", ""), Timing((2.0,), ())
    )
    assert [(value, trial.number) for value, trial in ranked(log, Objective(PAIR))] == [(1.0, 2), (2.0, 4), (3.0, 1)]
    assert best_so_far(log, Objective(PAIR)) == list(zip(log[1:], [3.0, 1.0, 1.0, 1.0], strict=True))
    assert best_so_far([], Objective(PAIR)) == []
