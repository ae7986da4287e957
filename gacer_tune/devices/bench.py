"""Measures schedules in this process; what protects the search from bad candidates is one level up."""

from __future__ import annotations

import time

from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.checked import SEED, CheckedBench, Spans, Variants
from gacer_tune.devices.profiling import profile
from gacer_tune.executor.session import Loaded, Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule, sequential

__all__ = ["SEED", "Bench"]


class Bench(CheckedBench[Loaded]):
    """On the CPUs of a session."""

    session: Session

    def __init__(self, session: Session, variants: Variants | None = None) -> None:
        super().__init__(session, variants)
        self.hertz = self._cycles_per_second()

    def sequential(self, lanes: int) -> Schedule:
        """The plan that the others are held against."""
        return self.known(sequential(self.workload, lanes))

    def lone(self) -> Schedule:
        return self.sequential(1)

    def apart(self) -> Schedule:
        return self.sequential(len(self.session.cpus))

    def load(self, schedule: Schedule) -> Loaded:
        return self.session.load(lower(self.workload, schedule, self.session.memory))

    def seconds(self, loaded: Loaded) -> float:
        begin = time.perf_counter()
        self.session.run(loaded)
        return time.perf_counter() - begin

    def tenants_s(self, loaded: Loaded) -> list[float]:
        done = [0.0] * len(self.workload.tenants)
        for tenant, _, _, _, end in loaded.timeline(self.hertz):
            done[tenant] = max(done[tenant], end)
        return done

    def spans(self, loaded: Loaded) -> Spans:
        found: list[list[tuple[float, float]]] = [[] for _ in loaded.plan.lanes]
        for _, _, lane, begin, end in loaded.timeline(self.hertz):
            found[lane].append((begin, end))
        return found

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run, in the order of the plan."""
        loaded = self.load(schedule)
        for _ in range(2):
            self.session.run(loaded)
        return loaded.timeline(self.hertz)

    def profile(self) -> Profile:
        """Time every variant of every kernel."""
        return profile(self)

    def _cycles_per_second(self) -> float:
        loaded = self.load(self.lone())
        self.session.run(loaded)
        marks = []
        for pause_s in (0.0, 0.05):
            time.sleep(pause_s)
            begin = time.perf_counter()
            self.session.run(loaded)
            marks.append((begin, int(loaded.times[0, 0])))
        return (marks[1][1] - marks[0][1]) / (marks[1][0] - marks[0][0])
