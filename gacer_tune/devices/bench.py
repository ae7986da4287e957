"""Measures schedules in this process; what protects the search from bad candidates is one level up."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from functools import partial

from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.checked import SEED, CheckedBench, Spans, Variants
from gacer_tune.devices.profiling import profile
from gacer_tune.executor.session import Loaded, Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.search.beside import Anchor, paired
from gacer_tune.search.trial import Failure, Timing

__all__ = ["SEED", "Bench"]

WARM_S = 0.05  # after a longer pause the anchor runs once untimed
MARKS, SHORT_S, APART_S = 5, 0.02, 0.05  # ends of runs, where they are short, at two times so far apart

Mark = tuple[float, int]  # seconds of the clock and cycles of the processor at the end of a run


class Bench(CheckedBench[Loaded]):
    """On the CPUs of a session."""

    session: Session

    def __init__(self, session: Session, variants: Variants | None = None) -> None:
        super().__init__(session, variants)
        self._kept: dict[Schedule, Loaded] = {}
        self._anchored_at = 0.0
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

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing | Failure:
        """The anchor stays loaded and warm from one schedule to the next; a schedule's first run checks its outputs and
        is its warm-up."""
        loaded = self._kept_right(schedule)
        base = self._kept_right(anchor[0])
        if isinstance(loaded, Failure):
            return loaded
        if isinstance(base, Failure):
            return base
        if time.perf_counter() - self._anchored_at > WARM_S:
            self.session.run(base)
        run = partial(self._timed_run, loaded)
        timing = paired(partial(self.seconds, base), run, pairs, anchor[1], give_up_s)
        self._anchored_at = time.perf_counter()
        return timing

    def _timed_run(self, loaded: Loaded) -> tuple[float, list[float]]:
        return self.seconds(loaded), self.tenants_s(loaded)

    def _kept_right(self, schedule: Schedule) -> Loaded | Failure:
        """Loaded and checked, unless it is among the last two that were asked for."""
        loaded = self._kept.pop(schedule, None) or self.load_right(schedule)
        if isinstance(loaded, Failure):
            return loaded
        self._kept[schedule] = loaded
        if len(self._kept) > 2:
            del self._kept[next(iter(self._kept))]
        return loaded

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
        """From the ends of runs: the begin of the first one waits for threads that are yet to be started."""
        loaded = self.load(self.apart())  # on all lanes, which is soon over
        early = self._marks(loaded)
        time.sleep(APART_S)
        return cycles_per_second(early, self._marks(loaded))

    def _marks(self, loaded: Loaded) -> list[Mark]:
        """Of one run, and of some more if they are short."""
        marks: list[Mark] = []
        while len(marks) < MARKS:
            took = self.seconds(loaded)
            marks.append((time.perf_counter(), int(loaded.times[:, 1].max())))
            if took > SHORT_S:
                break
        return marks


def cycles_per_second(early: Sequence[Mark], late: Sequence[Mark]) -> float:
    """From marks that are some time apart: of each group the one that is least late. A mark is late where something
    else took the processor between the end of a run and the look at the clock."""
    rough = statistics.median((there[1] - here[1]) / (there[0] - here[0]) for here in early for there in late)
    begin, end = (min(marks, key=lambda mark: mark[0] - mark[1] / rough) for marks in (early, late))
    return (end[1] - begin[1]) / (end[0] - begin[0])
