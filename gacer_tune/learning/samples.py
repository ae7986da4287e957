"""Samples of the cost model made from measured plans, with how far each measurement can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gacer_tune.cost_model.features import Vector
from gacer_tune.cost_model.model import Matrix, Sample
from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective
from gacer_tune.search.ranking import Ranker
from gacer_tune.search.trial import Timing, Trial

LEAST_NOISE = 0.004  # of one run, where the runs of no plan say more
_MEDIAN_ERROR = 1.25  # the standard error of a median is that of a mean times this


@dataclass(frozen=True, slots=True)
class Samples:
    """Plans of one workload, each once, as columns: features of shape (plans, len(NAMES)), seconds simulated and
    measured, and the standard error of the measurement as a share of it. `group` is the workload's key.
    """

    name: str
    group: str
    features: Matrix
    simulated_s: Vector
    measured_s: Vector
    noise: Vector

    def __len__(self) -> int:
        return len(self.measured_s)

    def at(self, rows: Sequence[int] | np.ndarray) -> list[Sample]:
        return [
            Sample(self.features[i], float(self.simulated_s[i]), float(self.measured_s[i]), self.group) for i in rows
        ]

    def every(self) -> list[Sample]:
        return self.at(range(len(self)))

    def kept(self, rows: Sequence[int] | np.ndarray) -> Samples:
        columns = (self.features, self.simulated_s, self.measured_s, self.noise)
        return Samples(self.name, self.group, *(column[rows] for column in columns))


def samples_of(workload: Workload, profile: Profile, trials: Sequence[Trial], name: str = "") -> Samples:
    """Of the trials that did not fail, the last of each schedule."""
    ranker = Ranker(workload, profile, Objective(workload))
    timings = {trial.schedule: trial.result for trial in trials if isinstance(trial.result, Timing)}
    made = [(ranker.sample(schedule, timing), timing) for schedule, timing in timings.items()]
    found = [(sample, timing) for sample, timing in made if sample is not None]
    noise = noise_of([timing for _, timing in found])
    rows = [sample for sample, _ in found]
    width = len(rows[0].features) if rows else 0
    return Samples(
        name or "+".join(tenant.name for tenant in workload.tenants),
        workload.key,
        np.stack([row.features for row in rows]) if rows else np.empty((0, width)),
        np.array([row.simulated_s for row in rows], np.float64),
        np.array([row.measured_s for row in rows], np.float64),
        noise,
    )


def chosen(trials: Sequence[Trial], most: int) -> list[Trial]:
    """At most so many of the trials that did not fail, one of each schedule: the fastest, and some of all others."""
    timed = {trial.schedule: (trial.result.median_s, trial) for trial in trials if isinstance(trial.result, Timing)}
    order = [trial for _, trial in sorted(timed.values(), key=lambda pair: pair[0])]
    if len(order) <= most:
        return order
    half = most // 2
    rest = order[half:]
    return order[:half] + rest[:: -(-len(rest) // half)]


def noise_of(timings: Sequence[Timing]) -> Vector:
    """Standard error of each median, as a share of it.

    A few runs tell little of their own spread, so no plan is trusted more than the typical one with as many runs.
    """
    own = [_spread(timing) for timing in timings]
    typical = max(LEAST_NOISE, statistics.median([s for s in own if s > 0] or [0.0]))
    counts = np.array([len(timing.seconds) for timing in timings], np.float64)
    found: Vector = _MEDIAN_ERROR * np.maximum(np.array(own, np.float64), typical) / np.sqrt(counts)
    return found


def _spread(timing: Timing) -> float:
    return statistics.stdev(np.log(timing.seconds).tolist()) if len(timing.seconds) > 1 else 0.0
