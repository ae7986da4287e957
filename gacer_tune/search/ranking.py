"""Predicts what schedules would cost, from the timeline and what the history teaches about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.features import Extractor, Vector
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
_GROWTH = 1.25  # fit again when the history has grown by this factor


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
    """Ranks schedules of one workload. Keeps estimates and the last model, which change only how fast it answers.

    `prior` is what earlier searches on this device have learned: it ranks until there are trials, and is corrected by
    them from then on.
    """

    def __init__(
        self,
        workload: Workload,
        profile: Profile,
        objective: Objective,
        seed: int = 0,
        prior: CostModel | None = None,
    ) -> None:
        self._workload, self._profile, self.objective, self._seed = workload, profile, objective, seed
        self._memory, self._prior = place(workload), prior
        self._tables: dict[int, tuple[Costs, Extractor]] = {}
        self._fitted: tuple[tuple[Trial, ...], CostModel] = ((), fit((), seed, prior))
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
            samples = [self.sample(t.schedule, t.result) for t in prefix if isinstance(t.result, Timing)]
            self._fitted = (prefix, fit([sample for sample in samples if sample], self._seed, self._prior))
        return self._fitted[1]

    def sample(self, schedule: Schedule, timing: Timing) -> Sample | None:
        """What a trial teaches; None where the timeline has nothing to say: a profile of zeros."""
        estimate = self.estimate(schedule)
        if estimate.makespan_s <= 0:
            return None
        return Sample(estimate.features, estimate.makespan_s, timing.median_s, self._workload.key)

    def _estimate(self, schedule: Schedule) -> Estimate:
        plan = lower(self._workload, schedule, self._memory)
        if schedule.lanes not in self._tables:
            costs = Costs(self._workload, self._profile, schedule.lanes)
            self._tables[schedule.lanes] = costs, Extractor(self._workload, costs)
        costs, extractor = self._tables[schedule.lanes]
        timeline = simulate(self._workload, plan, self._profile, costs)
        return Estimate(timeline.makespan_s, timeline.tenants_s, extractor.of(plan, timeline))


def _lagging(count: int) -> int:
    """The largest of 16, 21, 27, 34, ... that is not above `count`; 0 below the first."""
    step: int = MIN_SAMPLES
    if count < step:
        return 0
    while (following := int(step * _GROWTH) + 1) <= count:
        step = following
    return step
