"""When each slice of a plan would run, by the measured times of its kernels: a discrete-event simulation.

A lane runs its slices in order; a slice starts when what it waits for is done, a hand-over later. Where interference
was measured, a slice takes its time alone, more for what other lanes have written of its input (costs.py), and more
while other slices interfere. Where it was not, its speed follows the lanes that are busy with it: `alone` when there is
none, `shared` when all are, in proportion between. Where lanes steal, an idle lane helps with the slice that it waits
for, or once it is done with the first lane's that is not, as long as there is enough left of it (ir/stealing.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.stealing import grain_of
from gacer_tune.ir.workload import Workload

HELP = 0.8  # of a lane that a thief is worth: it reads what others hold in their caches, and takes turns
LEFT = 4  # grains that must be left of a slice for that: its owner takes half of it at once

Times = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Start and end of slice i of lane l at [l][i], and the end of each tenant, in seconds from the start of the run.

    A tenant without kernels ends at 0. `pointers` and `switch_s` (T_SW) are there for GACER's objective.
    """

    starts_s: tuple[tuple[float, ...], ...]
    ends_s: tuple[tuple[float, ...], ...]
    tenants_s: tuple[float, ...]
    pointers: int
    switch_s: float

    @property
    def makespan_s(self) -> float:
        return max((row[-1] for row in self.ends_s if row), default=0.0)

    @property
    def busy_s(self) -> tuple[float, ...]:
        """Seconds that each lane runs slices."""
        return tuple(sum(ends) - sum(starts) for starts, ends in zip(self.starts_s, self.ends_s, strict=True))

    @property
    def residue_s(self) -> float:
        """GACER's residue: lane-seconds of the pool that nobody uses before the end of the run."""
        return len(self.ends_s) * self.makespan_s - sum(self.busy_s)

    @property
    def objective_s(self) -> float:
        """GACER's objective in lane-seconds: residue + pointers x pool x T_SW."""
        return self.residue_s + self.pointers * len(self.ends_s) * self.switch_s


def simulate(workload: Workload, plan: Plan, profile: Profile, costs: Costs | None = None) -> Timeline:
    """Return the timeline of a plan. `costs` saves making them again: they are the same for all plans on as many lanes.

    Empty clusters leave no trace in a plan, so they count as no pointer. Raises ValueError where lanes wait for each
    other in a circle, which no plan made by `lower` does.
    """
    run = _Run(plan, costs or Costs(workload, profile, len(plan.lanes)))
    run.finish_all()
    return timeline_of(plan, len(workload.tenants), (run.starts, run.ends), profile.handover_s)


def timeline_of(plan: Plan, tenants: int, times: tuple[Times, Times], switch_s: float) -> Timeline:
    """The timeline of a plan from the starts and ends of its slices, by lane."""
    starts, ends = (tuple(map(tuple, rows)) for rows in times)
    done = [0.0] * tenants
    clusters = set()
    for lane, row in zip(plan.lanes, ends, strict=True):
        for piece, end in zip(lane, row, strict=True):
            clusters.add(piece.cluster)
            done[piece.tenant] = max(done[piece.tenant], end)
    return Timeline(starts, ends, tuple(done), max(len(clusters) - 1, 0), switch_s)


class _Run:
    """The lanes at one moment. when[l]: the next event of lane l, the end of its slice or the start of the next."""

    def __init__(self, plan: Plan, costs: Costs) -> None:
        self.lanes, self.costs, self.profile, self.steal = plan.lanes, costs, costs.profile, plan.steal
        self.measured = costs.profile.interference.pairs > 0
        self.shares = costs.shares(plan) if self.measured else {}
        count = len(plan.lanes)
        self.starts: list[list[float]] = [[] for _ in range(count)]
        self.ends: list[list[float]] = [[] for _ in range(count)]
        self.when = [self._ready(lane) for lane in range(count)]
        self.alone, self.extra, self.total = [0.0] * count, [0.0] * count, [0.0] * count
        self.demand, self.grain = [0.0] * count, [0.0] * count  # grain: seconds; 0 where nothing can be stolen
        self.running: list[int] = []

    def finish_all(self) -> None:
        when = self.when
        now = min(when, default=inf)
        while now < inf:
            lane = when.index(now)
            if len(self.starts[lane]) == len(self.ends[lane]):
                self._start(lane, now)
            else:
                self._end(lane, now)
            now = min(when)
        if any(len(ends) < len(lane) for ends, lane in zip(self.ends, self.lanes, strict=True)):
            raise ValueError("plan: lanes wait for each other in a circle")

    def _start(self, lane: int, now: float) -> None:
        self.starts[lane].append(now)
        self.running.append(lane)
        self._load(lane, now)
        self._adapt(now)

    def _end(self, lane: int, now: float) -> None:
        self.ends[lane].append(now)
        ready = self._ready(lane)
        if ready <= now:  # the next slice follows at once: as many lanes are busy as before
            self.starts[lane].append(now)
            self._load(lane, now)
            if self.steal or (self.measured and self.profile.interference.stream):
                self._adapt(now)
        else:
            self.when[lane] = ready
            self.running.remove(lane)
            self._adapt(now)
        for other, waiting in enumerate(self.when):
            if waiting == inf:
                self.when[other] = self._ready(other)

    def _load(self, lane: int, now: float) -> None:
        """Take up the slice that has just started."""
        piece: Slice = self.lanes[lane][len(self.ends[lane])]
        tenant, kernel, variant = piece.tenant, piece.kernel, piece.variant
        part = (piece.hi - piece.lo) / self.costs.items[tenant][kernel][variant]
        seconds = self.profile.alone[tenant][kernel][variant]
        if self.measured:
            remote = self.costs.remote(self.shares, tenant, kernel, lane)
            seconds = max(0.0, seconds + remote * self.costs.apart[tenant][kernel][variant])
            self.extra[lane] = part * seconds
            self.demand[lane] = self.costs.demands[tenant][kernel][variant]
        else:
            self.extra[lane] = part * (self.profile.shared[tenant][kernel][variant] - seconds)
        self.alone[lane] = self.profile.launch_s + part * seconds
        self.total[lane] = self.alone[lane] + self._contention(lane) * self.extra[lane]
        self.when[lane] = now + self.total[lane]
        if self.steal:
            share = grain_of(self.costs.workload, piece) / (piece.hi - piece.lo)
            self.grain[lane] = share * self.total[lane]

    def _contention(self, lane: int) -> float:
        """How much of `extra` a running slice pays for what runs beside it."""
        if not self.measured:
            return max(len(self.running) - 1, 0) / max(len(self.lanes) - 1, 1)
        others = [self.demand[other] for other in self.running if other != lane]
        return self.profile.interference.slowdown(self.demand[lane], others) - 1.0

    def _adapt(self, now: float) -> None:
        """Stretch or shrink what is left of the running slices: what runs beside them has changed."""
        thieves = self._thieves() if self.steal and len(self.running) < len(self.lanes) else None
        for lane in self.running:
            total = self.alone[lane] + self._contention(lane) * self.extra[lane]
            if thieves and 0 < LEFT * self.grain[lane] <= self.when[lane] - now:
                total /= 1 + HELP * thieves[lane]
            if self.total[lane] > 0:
                self.when[lane] = now + (self.when[lane] - now) * total / self.total[lane]
            self.total[lane] = total

    def _thieves(self) -> list[int]:
        """How many lanes steal from each lane: of the first that is not done all that are, of others who waits for
        them."""
        found, idle, first = [0] * len(self.lanes), 0, -1
        for lane, row in enumerate(self.lanes):
            done = len(self.ends[lane])
            if done == len(row):
                idle += 1
                continue
            first = lane if first < 0 else first
            if done == len(self.starts[lane]):  # it runs nothing
                late = (wait.lane for wait in row[done].waits if len(self.ends[wait.lane]) < wait.count)
                if (awaited := next(late, None)) is not None:
                    found[awaited] += 1
        if first >= 0:
            found[first] += idle
        return found

    def _ready(self, lane: int) -> float:
        """When the next slice of a lane that runs nothing can start; infinity while a wait is not over."""
        done = len(self.ends[lane])
        if done == len(self.lanes[lane]):
            return inf
        at = self.ends[lane][-1] if done else 0.0
        for wait in self.lanes[lane][done].waits:
            ends = self.ends[wait.lane]
            if len(ends) < wait.count:
                return inf
            at = max(at, ends[wait.count - 1] + self.profile.handover_s)
        return at
