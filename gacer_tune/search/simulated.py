"""A machine made of numbers: tests, and trying out a search, without hardware."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import Timeline, simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Memory, Plan
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import IllegalScheduleError
from gacer_tune.ir.workload import Workload
from gacer_tune.search.device import Pairs
from gacer_tune.search.trial import Failure, Timing


@dataclass(frozen=True)
class SimulatedDevice:
    """Times come from the timeline of a profile that the search does not see: contention makes kernels slower beside
    others than `profile` says, each by a share of its own between 0 and `contention`.

    noise   standard deviation of the logarithm of each run's time; 0 makes every run exact
    seed    of the noise and of the contention
    faults  failures by digest of the schedule
    """

    workload: Workload
    profile: Profile
    lanes: int
    noise: float = 0.0
    seed: int = 0
    contention: float = 0.0
    faults: Mapping[str, Failure] = field(default_factory=dict)
    _rng: random.Random = field(init=False, repr=False, compare=False)
    _truth: Profile = field(init=False, repr=False, compare=False)
    _memory: Memory = field(init=False, repr=False, compare=False)
    _costs: dict[int, Costs] = field(init=False, repr=False, compare=False, default_factory=dict)  # by lanes

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rng", random.Random(self.seed))
        object.__setattr__(self, "_truth", _contended(self.profile, self.contention, self.seed))
        object.__setattr__(self, "_memory", place(self.workload))

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        run = self._run(schedule)
        if isinstance(run, Failure):
            return run
        factors: list[float] = []
        while len(factors) < repeats and not (factors and run.makespan_s * factors[-1] > give_up_s):
            factors.append(self._factor())
        return Timing.of_runs([run.makespan_s * f for f in factors], [[s * f for s in run.tenants_s] for f in factors])

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        """Half of the noise is drift, which both runs of a pair share."""
        runs = []
        for schedule in (a, b):
            run = self._run(schedule)
            if isinstance(run, Failure):
                return run
            runs.append(run.makespan_s)
        found = []
        for _ in range(pairs):
            drift = self._factor()
            found.append((runs[0] * drift * self._factor(), runs[1] * drift * self._factor()))
        return tuple(found)

    def close(self) -> None:
        """Nothing to give back."""

    def _run(self, schedule: Schedule) -> Timeline | Failure:
        if self.faults and (fault := self.faults.get(schedule.digest)):
            return fault
        if schedule.lanes > self.lanes:
            return Failure("illegal", f"{schedule.lanes} lanes, the device has {self.lanes}")
        try:
            plan = lower(self.workload, schedule, self._memory)
        except IllegalScheduleError as error:
            return Failure("illegal", str(error))
        return self.timeline(plan)

    def timeline(self, plan: Plan) -> Timeline:
        """What really happens when the plan runs."""
        lanes = len(plan.lanes)
        if lanes not in self._costs:
            self._costs[lanes] = Costs(self.workload, self._truth, lanes)
        return simulate(self.workload, plan, self._truth, self._costs[lanes])

    def _factor(self) -> float:
        return self._rng.lognormvariate(0.0, self.noise) if self.noise else 1.0


def _contended(profile: Profile, contention: float, seed: int) -> Profile:
    rng = random.Random(f"contention {seed}")
    shared = tuple(
        tuple(tuple(s * (1 + contention * rng.random()) for s in row) for row in kernels) for kernels in profile.shared
    )
    return replace(profile, shared=shared)
