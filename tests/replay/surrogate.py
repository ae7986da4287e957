"""A machine made of a recording: it times schedules that were never measured, as like the recorded ones as it can.

Three layers, none of which the search sees: a timeline whose contention, hand-over and launch are fitted to the
recording; what the recording says beyond it, carried over from the most similar recorded schedules; and the recorded
noise. Similarity counts equal decisions, not the features that the cost model learns from, so that the cost model is
not asked to find again what it was itself used to write.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import Timeline, simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.recording import Recording
from gacer_tune.search.device import Pairs
from gacer_tune.search.trial import Failure, Timing

NEIGHBOURS = 7
FADING = 5.0  # how fast what neighbours say loses weight with their mean distance
FITTED = 150  # schedules that the timeline is fitted to
HELD_OUT = 5  # every fifth schedule, for the figure that says how good a surrogate is
CONTENTION, HANDOVER, LAUNCH = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), (0.5, 1.0, 2.0, 4.0, 8.0), (0.5, 1.0, 2.0)

Codes = npt.NDArray[np.int32]


def code(schedule: Schedule) -> Codes:
    """The decisions in one row: of each op its lanes, order and breadth, chunks and first lane; then the variants."""
    row: list[int] = []
    for tenant, pointers in enumerate(schedule.pointers):
        for op, (chunks, first) in enumerate(zip(schedule.chunks[tenant], schedule.first[tenant], strict=True)):
            cluster = schedule.clusters[sum(pointer <= op for pointer in pointers)]
            lanes = sum(1 << lane for lane in cluster.lanes[tenant])
            row += [lanes, cluster.order.index(tenant) * 2 + cluster.breadth, chunks, first]
    return np.array([*row, *(v for variants in schedule.variants for v in variants)], dtype=np.int32)


@dataclass(frozen=True)
class Known:
    """Recorded schedules: their codes, and the logarithm of measured over simulated."""

    codes: Codes
    residuals: npt.NDArray[np.float64]

    def residual(self, wanted: Codes) -> float:
        """Median of the nearest, so that a burst of load on the machine is forgotten; less where even they are far."""
        distance = (self.codes != wanted).mean(axis=1)
        nearest = np.argpartition(distance, NEIGHBOURS)[:NEIGHBOURS]
        return float(np.median(self.residuals[nearest])) * math.exp(-FADING * float(distance[nearest].mean()))


class Surrogate:
    """A device. `true_s` is what a schedule takes without noise."""

    def __init__(self, recording: Recording, seed: int = 0, every: int = 1) -> None:
        """every: use each schedule (1), or leave out every `every`-th one, to be compared with afterwards."""
        self.workload, self.memory = recording.workload, place(recording.workload)
        trials = [(t.schedule, t.result) for t in recording.trials if isinstance(t.result, Timing)]
        kept = [pair for number, pair in enumerate(trials) if every == 1 or number % every]
        self.lanes = max(schedule.lanes for schedule, _ in kept)
        self.truth = fitted(self.workload, recording.profile, kept)
        self._costs = Costs(self.workload, self.truth, self.lanes)
        simulated = [self._simulated(schedule).makespan_s for schedule, _ in kept]
        residuals = [math.log(timing.median_s / s) for (_, timing), s in zip(kept, simulated, strict=True)]
        self._bias = statistics.median(residuals)
        self.known = Known(np.stack([code(schedule) for schedule, _ in kept]), np.array(residuals) - self._bias)
        self.noise = statistics.median(timing.spread for _, timing in kept if len(timing.seconds) > 2) / 1.35
        self._rng = random.Random(seed)
        self._times: dict[Schedule, tuple[float, tuple[float, ...]]] = {}

    def seeded(self, seed: int) -> Surrogate:
        """The same machine with noise of another seed; to fit a machine takes longer than a search on it."""
        other = copy(self)
        other._rng = random.Random(seed)
        return other

    def true_s(self, schedule: Schedule) -> float:
        return self._run(schedule)[0]

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        seconds, tenants_s = self._run(schedule)
        factors: list[float] = []
        while len(factors) < repeats and not (factors and seconds * factors[-1] > give_up_s):
            factors.append(self._rng.lognormvariate(0.0, self.noise))
        return Timing.of_runs([seconds * f for f in factors], [[s * f for s in tenants_s] for f in factors])

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        runs = [self.measure(schedule, pairs) for schedule in (a, b)]
        return tuple(zip(*(run.seconds for run in runs if isinstance(run, Timing)), strict=True))

    def close(self) -> None:
        """Nothing to give back."""

    def _run(self, schedule: Schedule) -> tuple[float, tuple[float, ...]]:
        if schedule not in self._times:
            timeline = self._simulated(schedule)
            factor = math.exp(self._bias + self.known.residual(code(schedule)))
            self._times[schedule] = (timeline.makespan_s * factor, tuple(s * factor for s in timeline.tenants_s))
        return self._times[schedule]

    def _simulated(self, schedule: Schedule) -> Timeline:
        plan = lower(self.workload, schedule, self.memory)
        return simulate(self.workload, plan, self.truth, self._costs if len(plan.lanes) == self.lanes else None)


def fitted(workload: Workload, profile: Profile, trials: Sequence[tuple[Schedule, Timing]]) -> Profile:
    """The profile whose timeline is closest to the measurements, up to one common factor."""
    some = random.Random(0).sample(list(trials), min(FITTED, len(trials)))
    memory = place(workload)
    plans = [(lower(workload, schedule, memory), math.log(timing.median_s)) for schedule, timing in some]

    def error(candidate: Profile) -> float:
        logs = [math.log(simulate(workload, plan, candidate).makespan_s) - measured for plan, measured in plans]
        return statistics.pstdev(logs)

    coarse = min((bent(profile, (c, 1.0, 1.0)) for c in CONTENTION), key=error)
    contention = next(c for c in CONTENTION if bent(profile, (c, 1.0, 1.0)) == coarse)
    return min((bent(profile, (contention, h, la)) for h, la in product(HANDOVER, LAUNCH)), key=error)


def bent(profile: Profile, factors: tuple[float, float, float]) -> Profile:
    """Contention (what `shared` has above `alone`), hand-over and launch times these factors."""
    contention, handover, launch = factors
    shared = tuple(
        tuple(tuple(max(a + contention * (s - a), 0.1 * a) for a, s in zip(*rows, strict=True)) for rows in kernels)
        for kernels in (zip(*pair, strict=True) for pair in zip(profile.alone, profile.shared, strict=True))
    )
    return replace(profile, shared=shared, handover_s=handover * profile.handover_s, launch_s=launch * profile.launch_s)


def rank_correlation(recording: Recording) -> tuple[float, float]:
    """Spearman's, on schedules that the surrogate was not given: of the plain timeline, and of the surrogate."""
    device = Surrogate(recording, every=HELD_OUT)
    trials = [(t.schedule, t.result) for t in recording.trials if isinstance(t.result, Timing)]
    out = trials[::HELD_OUT]
    measured = [timing.median_s for _, timing in out]
    memory = place(recording.workload)
    plain = [
        simulate(recording.workload, lower(recording.workload, s, memory), recording.profile).makespan_s for s, _ in out
    ]
    surrogate = [device.true_s(schedule) for schedule, _ in out]
    return float(spearmanr(plain, measured).statistic), float(spearmanr(surrogate, measured).statistic)
