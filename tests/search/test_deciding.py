"""The schedule that is handed back, and the table beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gacer_tune import deciding
from gacer_tune.deciding import decide, settle
from gacer_tune.ir.schedule import breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.report.verdict import Gain
from gacer_tune.search.acceptance import Outcome
from gacer_tune.search.afresh import Effort, affordable
from gacer_tune.search.duel import Surroundings
from gacer_tune.search.objective import Objective
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings
from tests.support.workloads import chain

MIX = Workload((chain("a", (2, 2)), chain("b", (2,))))
PLAIN = sequential(MIX, 2)
WINNER, OTHER = replace(PLAIN, steal=True), replace(lane_per_tenant(MIX, 2), steal=True)
TRIALS = tuple(
    Trial(schedule, Timing((0.01,), (0.01, 0.01)), origin, number)
    for number, (schedule, origin) in enumerate(
        [
            (PLAIN, "sequential"),
            (lane_per_tenant(MIX, 2), "lane_per_tenant"),
            (breadth_first(MIX, 2), "breadth_first"),
            (WINNER, "evolve"),
            (OTHER, "evolve"),
        ]
    )
)
WON = Outcome(WINNER, "evolve", True, 1.1, 0.01, 0.011, 0.01, "sequential", "won")
LOST = Outcome(PLAIN, "sequential", False, 0.9, 0.9, 0.01, 0.01, "sequential", "lost")


def settled(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], tuned_s: float, objective: str = "makespan"
) -> tuple[Outcome, tuple[Gain, ...], list[list[Trial]]]:
    """What settle returns where decisions are made for it, and the trials that each was asked about."""
    asked: list[list[Trial]] = []
    left = list(outcomes)

    def decide(*given: Any) -> Outcome:
        asked.append(list(given[3]))
        return left.pop(0)

    def measure(_: Any, __: Any, best: Any, ___: int) -> tuple[Gain, ...]:
        return (Gain("together", 0.010, 0.012, tuned_s if best == WINNER else 0.010),)

    monkeypatch.setattr(deciding, "decide", decide)
    monkeypatch.setattr(deciding, "measure_rows", measure)
    settings = Settings(tenants=(TenantSettings(path="a.onnx", name="a"),), objective=objective)
    anything: Any = None
    outcome, rows = settle(settings, anything, (anything, anything), TRIALS, Surroundings())
    assert left == []
    return outcome, rows, asked


def test_a_winner_that_the_table_confirms_has_won(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, rows, asked = settled(monkeypatch, [WON], 0.009)
    assert (outcome, len(asked)) == (WON, 1)
    assert rows[-1].tuned_s == 0.009


@pytest.mark.parametrize("second", [WON, LOST])
def test_a_winner_that_the_table_contradicts_must_win_once_more(
    monkeypatch: pytest.MonkeyPatch, second: Outcome
) -> None:
    outcome, rows, asked = settled(monkeypatch, [WON, second], 0.011)
    assert outcome == second
    assert [trial.schedule for trial in asked[1]] == [trial.schedule for trial in TRIALS[:3]] + [WINNER]
    assert rows[-1].tuned_s == (0.011 if second is WON else 0.010), "the table is of what is handed back"


def test_other_objectives_are_not_judged_by_the_makespan(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, [WON], 0.011, "fairness")[0] == WON


def test_a_baseline_that_stays_needs_no_second_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, [LOST], 0.011)[0] == LOST


@pytest.mark.parametrize(
    ("run_s", "budget_s", "expected"),
    [
        (0.005, 2, Effort(4, 30)),
        (0.05, 8, Effort(3, 30)),
        (0.2, 2, Effort(1, 10)),
        (0.2, 150, Effort(2, 30)),
        (5, 120, Effort(1, 10)),
        (0.2, 600, Effort(4, 30)),
    ],
)
def test_measuring_again_takes_no_longer_than_the_search(run_s: float, budget_s: float, expected: Effort) -> None:
    assert affordable(run_s, budget_s) == expected


def test_the_last_word_costs_what_runs_and_budget_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [replace(trial, result=Timing((0.2,), (0.2, 0.2))) for trial in TRIALS]
    given: list[Any] = []
    monkeypatch.setattr("gacer_tune.search.acceptance.accept", lambda *all_of_it: given.extend(all_of_it) or WON)
    monkeypatch.setattr(deciding, "objective_for", lambda *_: Objective(MIX))
    settings = Settings(tenants=(TenantSettings(path="a.onnx", name="a"),), budget_s=2)
    anything: Any = None
    assert decide(settings, anything, anything, slow, Surroundings()) == WON
    assert given[4:] == [Effort(1, 10), Surroundings()]
