"""A machine with two states, made of numbers: plans differ in another order in each, and it stays in one for long."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from gacer_tune.ir.schedule import Schedule, lane_per_tenant, sequential
from gacer_tune.search.acceptance import finalists
from gacer_tune.search.anchored import Anchored, jumped
from gacer_tune.search.objective import leaders, ranked
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.search.test_anchored import MAKESPAN, MIX, PROFILE, Shared, true_s, wide


@dataclass
class TwoStates(Shared):
    """QUIET whose memory is slow between two numbers of runs: what spreads a tenant over both lanes takes `wait` times
    as long then. All others take a tenth longer than on QUIET, so that there something wide is the best.
    """

    slow: tuple[int, int] = (0, 0)

    def _factor(self, schedule: Schedule) -> float:
        self.runs += 1
        return self.factor(schedule, self.slow[0] <= self.runs < self.slow[1])

    def factor(self, schedule: Schedule, slow: bool) -> float:
        return (self.wait if slow else 1.0) if wide(schedule) else 1.1

    def pause(self, seconds: float) -> None:
        """The machine stays as it is."""


def judged(device: TwoStates, trials: int, history: Sequence[Trial] = ()) -> tuple[list[Trial], int]:
    """All trials, and how many of them were over when memory was slow for the last time."""
    found, slow = list(history), len(history)
    for trial in tune(MIX, device, PROFILE, TuneOptions(1e9, trials, anchored=True), history, clock=lambda: 0.0):
        found.append(trial)
        slow += device.runs < device.slow[1]
    return found, slow


def fast_s(trial: Trial) -> float:
    return true_s(trial.schedule) * TwoStates(1).factor(trial.schedule, slow=False)


def wrongly_dropped(trials: Sequence[Trial], best_s: float) -> list[Trial]:
    """Those that were given up after a pair or two although they are not 10 % slower than the best."""
    few = [trial for trial in trials if isinstance(trial.result, Timing) and len(trial.result.seconds) < 3]
    return [trial for trial in few if fast_s(trial) < 1.1 * best_s]


@pytest.mark.parametrize("wait", [1.2, 1.5])
def test_what_was_best_before_the_machine_changed_judges_nobody(wait: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is slow the best one is narrow and far ahead of the anchor; where it is fast nothing is."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    followed, before = judged(TwoStates(1, wait=wait, slow=(0, 300)), 160)
    monkeypatch.setattr("gacer_tune.search.anchored.jumped", lambda _: False)
    ignored, _ = judged(TwoStates(1, wait=wait, slow=(0, 300)), 160)
    best_s = min(map(fast_s, followed[before:]))
    assert before < 60
    assert not wide(ranked(followed[:before], MAKESPAN)[0][1].schedule)
    assert min(map(fast_s, finalists(followed, MAKESPAN))) < 1.01 * best_s
    assert min(map(fast_s, finalists(ignored, MAKESPAN))) > 1.1 * best_s
    assert len(wrongly_dropped(followed[before:], best_s)) < 8
    assert wait < 1.5 or len(wrongly_dropped(ignored[before:], best_s)) > 30


def test_what_was_best_when_a_search_was_killed_judges_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have changed before it is resumed. What was slow before is not tried again."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    history, before = judged(TwoStates(1, wait=1.5, slow=(0, 10**9)), 40)
    found, _ = judged(TwoStates(1, wait=1.5), 120, history)
    best_s = min(map(fast_s, found[before:]))
    assert min(map(fast_s, finalists(found, MAKESPAN))) < 1.01 * best_s
    assert wrongly_dropped(found[before:], best_s) == []


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1.0] * 10 + [1.1] * 5, True),
        ([1.0] * 10 + [0.9] * 5, True),
        ([1.0] * 10 + [1.1] * 4, False),
        ([1.0] * 10 + [1.04] * 5, False),
        ([1.0, 1.1, 1.2] * 4 + [1.15] * 5, False),
        ([1.0] * 4 + [1.1] * 5, False),
        ([*[1.0] * 20, 1.5, *[1.1] * 5], True),
    ],
)
def test_a_machine_has_changed_when_the_anchor_stays_beyond_its_noise(levels: list[float], expected: bool) -> None:
    assert jumped(levels) == expected


def test_the_best_of_each_state_leads() -> None:
    """Times of 0.5 s and 0.6 s beside an anchor that takes 2 s now are not those of before."""
    log = [
        Trial(schedule, replace(Timing((s,), (s, s)), anchors_s=(1.0,), usual_s=usual_s), "evolve", number)
        for number, (schedule, s, usual_s) in enumerate(
            zip([sequential(MIX, 2)] * 4, (0.9, 0.6, 0.5, 0.8), (1.0, 2.0, 2.0, 1.0), strict=True)
        )
    ]
    assert [trial.number for trial in leaders(log, MAKESPAN)] == [2, 3, 1, 0]
    alone = [replace(trial, result=Timing((s,), (s, s))) for trial, s in zip(log, (3.0, 1.0, 2.0, 4.0), strict=True)]
    assert [trial.number for trial in leaders(alone, MAKESPAN)] == [1, 2, 0, 3]


@dataclass
class Noisy(TwoStates):
    """All schedules take the same time, but for a tenth from run to run."""

    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def _factor(self, schedule: Schedule) -> float:
        return math.exp(self.rng.gauss(0, 0.1)) / true_s(schedule)


@pytest.mark.parametrize("seed", range(3))
def test_times_do_not_shrink_from_change_to_change(seed: int) -> None:
    """Of many measurements the shortest is a lucky one: in step with it, all later ones would be too short, and after
    twenty changes a tenth of what they are."""
    device = Anchored(Noisy(1, seed=seed), pause=lambda _: None)
    log: list[Trial] = []
    for number in range(400):
        schedule = lane_per_tenant(MIX, 2) if number else sequential(MIX, 2)
        log.append(Trial(schedule, device.measure(schedule, 3), "evolve", number))
        best = ranked(log, MAKESPAN)[0][1]
        if best is log[-1]:
            device.lead(best.schedule)
        if number % 20 == 19:
            device.keep_up([best], MAKESPAN)
    usual_s = [trial.result.usual_s for trial in log if isinstance(trial.result, Timing)]
    assert 0.6 < usual_s[-1] / usual_s[1] < 1.6
