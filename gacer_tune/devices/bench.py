"""Measures schedules in this process; what protects the search from bad candidates is one level up."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from gacer_tune import inputs
from gacer_tune.executor.session import Loaded, Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.search.trial import Failure, Timing

SEED = 0


class Bench:
    """A session with sample inputs, and the outputs that every schedule must reproduce bit by bit.

    variants: those of the sequential plan, the first of each kernel unless given; the module must have them.
    """

    def __init__(self, session: Session, variants: tuple[tuple[int, ...], ...] | None = None) -> None:
        self.session, self.workload, self._variants = session, session.workload, variants
        for number, tenant in enumerate(self.workload.tenants):
            for port in tenant.inputs:
                session.port(number, port)[...] = inputs.sample(tenant, SEED)[port.name]
        self.expected = self.digest(self.load(self.sequential(1)))
        self.hertz = self._cycles_per_second()

    def sequential(self, lanes: int) -> Schedule:
        """The plan that the others are held against."""
        base = sequential(self.workload, lanes)
        return base if self._variants is None else replace(base, variants=self._variants)

    def load(self, schedule: Schedule) -> Loaded:
        return self.session.load(lower(self.workload, schedule, self.session.memory))

    def digest(self, loaded: Loaded) -> str:
        """Run once on poisoned memory and return the digest of all outputs."""
        self.session.poison()
        self.session.run(loaded)
        found = hashlib.sha256()
        for number, tenant in enumerate(self.workload.tenants):
            for port in tenant.outputs:
                found.update(np.ascontiguousarray(self.session.port(number, port)).data)
        return found.hexdigest()

    def outputs(self) -> dict[str, Any]:
        """Outputs of the sequential plan for the sample inputs, by `tenant number/output`."""
        self.digest(self.load(self.sequential(1)))
        return {
            f"{number}/{port.name}": self.session.port(number, port).copy()
            for number, tenant in enumerate(self.workload.tenants)
            for port in tenant.outputs
        }

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run, in the order of the plan."""
        loaded = self.load(schedule)
        for _ in range(2):
            self.session.run(loaded)
        return loaded.timeline(self.hertz)

    def seconds(self, loaded: Loaded) -> float:
        begin = time.perf_counter()
        self.session.run(loaded)
        return time.perf_counter() - begin

    def tenants_s(self, loaded: Loaded) -> list[float]:
        """When each tenant was done in the last run, counted from the first row of the run."""
        times = loaded.times
        done = [0.0] * len(self.workload.tenants)
        if not len(times):
            return done
        begin = int(times[:, 0].min())
        for piece, end in zip(loaded.table.slices, times[:, 1], strict=True):
            done[piece.tenant] = max(done[piece.tenant], (int(end) - begin) / self.hertz)
        return done

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Time `repeats` runs after the one that checks the outputs, or until one takes longer than give_up_s."""
        loaded = self.load(schedule)
        if self.digest(loaded) != self.expected:
            return Failure("wrong-output", "outputs differ from those of the sequential plan")
        seconds: list[float] = []
        tenants = []
        while len(seconds) < repeats and not (seconds and seconds[-1] > give_up_s):
            seconds.append(self.seconds(loaded))
            tenants.append(self.tenants_s(loaded))
        return Timing.of_runs(seconds, tenants)

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> tuple[tuple[float, float], ...]:
        """Alternate which of the two goes first, so that neither always follows the other."""
        one, other = self.load(a), self.load(b)
        for loaded in (one, other):
            self.session.run(loaded)
        found = []
        for number in range(pairs):
            if number % 2:
                later = self.seconds(other)
                found.append((self.seconds(one), later))
            else:
                found.append((self.seconds(one), self.seconds(other)))
        return tuple(found)

    def launch(self) -> float:
        """Median time from the end of a row to the start of the next on the same lane."""
        loaded = self.load(self.sequential(1))
        self.session.run(loaded)
        gaps = (loaded.times[1:, 0] - loaded.times[:-1, 1]) / self.hertz
        return max(0.0, float(np.median(gaps))) if len(gaps) else 0.0

    def handover(self, lanes: int) -> float:
        """Median time from the end of the last slice waited for to the start of the waiting one."""
        loaded = self.load(self.sequential(lanes))
        self.session.run(loaded)
        times, starts = loaded.times, loaded.table.starts
        gaps = []
        for row, piece in enumerate(loaded.table.slices):
            ends = [int(times[starts[wait.lane] + wait.count - 1, 1]) for wait in piece.waits]
            previous = int(times[row - 1, 1]) if row and row not in starts else 0
            if ends and max(ends) > previous:
                gaps.append((int(times[row, 0]) - max(ends)) / self.hertz)
        return max(0.0, float(np.median(gaps))) if gaps else 0.0

    def _cycles_per_second(self) -> float:
        loaded = self.load(self.sequential(1))
        self.session.run(loaded)
        marks = []
        for pause_s in (0.0, 0.05):
            time.sleep(pause_s)
            begin = time.perf_counter()
            self.session.run(loaded)
            marks.append((begin, int(loaded.times[0, 0])))
        return (marks[1][1] - marks[0][1]) / (marks[1][0] - marks[0][0])
