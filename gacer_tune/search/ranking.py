"""Predicts what schedules would cost, from the timeline and what the history teaches about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gacer_tune.cost_model.features import Vector, features
from gacer_tune.cost_model.model import MIN_SAMPLES, CostModel, Sample, fit
from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective
from gacer_tune.search.trial import Timing, Trial

_REMEMBERED = 4096
_GROWTH = 1.15  # fit again when the history has grown by this factor


class Estimate(NamedTuple):
    """What the timeline says of a schedule."""

    makespan_s: float
    tenants_s: tuple[float, ...]
    features: Vector


class Forecast(NamedTuple):
    """Predicted value of the objective and how far the models disagree about it (relative)."""

    value: float
    spread: float
    schedule: Schedule


class Ranker:
    """Ranks schedules of one workload. Keeps estimates and the last model, which change only how fast it answers."""

    def __init__(self, workload: Workload, profile: Profile, objective: Objective, seed: int = 0) -> None:
        self._workload, self._profile, self.objective, self._seed = workload, profile, objective, seed
        self._memory = place(workload)
        self._fitted: tuple[tuple[Trial, ...], CostModel] = ((), CostModel())
        self.estimate = lru_cache(_REMEMBERED)(self._estimate)

    def rank(self, schedules: Sequence[Schedule], history: Sequence[Trial]) -> list[Forecast]:
        """Forecasts, best first; equal ones keep their order."""
        if not schedules:
            return []
        estimates = [self.estimate(schedule) for schedule in schedules]
        prediction = self.model(history).predict(np.stack([estimate.features for estimate in estimates]))
        factors = np.exp(prediction.log_ratio)
        forecasts = [
            Forecast(
                self.objective.value(e.makespan_s * factor, [s * factor for s in e.tenants_s]), float(spread), schedule
            )
            for e, factor, spread, schedule in zip(
                estimates, factors.tolist(), prediction.spread, schedules, strict=True
            )
        ]
        return sorted(forecasts, key=lambda forecast: forecast.value)

    def model(self, history: Sequence[Trial]) -> CostModel:
        """The model fitted to the first trials that did not fail; it lags behind a little, fitting takes time."""
        good = [trial for trial in history if isinstance(trial.result, Timing)]
        prefix = tuple(good[: _lagging(len(good))])
        if prefix != self._fitted[0]:
            samples = [self._sample(trial.schedule, trial.result) for trial in prefix]
            self._fitted = (prefix, fit([sample for sample in samples if sample], self._seed))
        return self._fitted[1]

    def _sample(self, schedule: Schedule, result: object) -> Sample | None:
        estimate = self.estimate(schedule)
        if not isinstance(result, Timing) or estimate.makespan_s <= 0:  # a profile of zeros says nothing
            return None
        return Sample(estimate.features, estimate.makespan_s, result.median_s)

    def _estimate(self, schedule: Schedule) -> Estimate:
        plan = lower(self._workload, schedule, self._memory)
        timeline = simulate(self._workload, plan, self._profile)
        return Estimate(timeline.makespan_s, timeline.tenants_s, features(self._workload, plan, timeline))


def _lagging(count: int) -> int:
    """The largest of 16, 19, 22, 26, ... that is not above `count`; 0 below the first."""
    step: int = MIN_SAMPLES
    if count < step:
        return 0
    while (following := int(step * _GROWTH) + 1) <= count:
        step = following
    return step
