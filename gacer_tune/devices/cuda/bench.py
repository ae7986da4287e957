"""Measures schedules on the GPU of this process, by events on the device; crashes are dealt with one level up."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from gacer_tune import inputs
from gacer_tune.cost_model.profile import Profile, Rows
from gacer_tune.devices.bench import SEED
from gacer_tune.executor.cuda.graph import Marks
from gacer_tune.executor.cuda.session import CudaSession, LoadedGraph
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.streams import branch_streams, one_stream, stream_per_tenant
from gacer_tune.search.trial import Failure, Timing

WARM_UPS = 2
PROFILE_RUNS = 5

Make = Callable[[Workload, int], Schedule]


class CudaBench:
    """A session with sample inputs, and the outputs that every schedule must reproduce bit by bit.

    Times are seconds on the device, without copies of inputs and outputs: `hertz` is 1. Between two timed runs the
    second-level cache is overwritten, so that every run finds it alike.
    """

    hertz = 1.0

    def __init__(self, session: CudaSession) -> None:
        self.session, self.workload = session, session.workload
        for number, tenant in enumerate(self.workload.tenants):
            for port in tenant.inputs:
                session.port(number, port)[...] = inputs.sample(tenant, SEED)[port.name]
        self._last: LoadedGraph | None = None
        self.expected = self.digest(self.load(one_stream(self.workload, 1)))

    def load(self, schedule: Schedule, marks: Marks = "none", old: LoadedGraph | None = None) -> LoadedGraph:
        return self.session.load(lower(self.workload, schedule, self.session.memory), marks, old)

    def digest(self, loaded: LoadedGraph) -> str:
        """Run once on poisoned memory and return the digest of all outputs."""
        self.session.poison()
        self.session.run(loaded)
        found = hashlib.sha256()
        for array in self._outputs().values():
            found.update(array.tobytes())
        return found.hexdigest()

    def outputs(self) -> dict[str, Any]:
        """Outputs of the sequential plan for the sample inputs, by `tenant number/output`."""
        self.digest(self.load(one_stream(self.workload, 1)))
        return {name: array.copy() for name, array in self._outputs().items()}

    def _outputs(self) -> dict[str, Any]:
        return {
            f"{number}/{port.name}": self.session.port(number, port)
            for number, tenant in enumerate(self.workload.tenants)
            for port in tenant.outputs
        }

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Time `repeats` runs after the one that checks the outputs, or until one takes longer than give_up_s."""
        loaded = self._last = self.load(schedule, "tenants", self._last)
        if self.digest(loaded) != self.expected:
            return Failure("wrong-output", "outputs differ from those of the sequential plan")
        seconds: list[float] = []
        tenants = []
        while len(seconds) < repeats and not (seconds and seconds[-1] > give_up_s):
            seconds.append(self.seconds(loaded))
            tenants.append(self.tenants_s(loaded))
        return Timing.of_runs(seconds, tenants)

    def seconds(self, loaded: LoadedGraph) -> float:
        self.session.flush()
        return self.session.seconds(loaded)

    def tenants_s(self, loaded: LoadedGraph) -> list[float]:
        """When each tenant was done in the last run."""
        done = [0.0] * len(self.workload.tenants)
        for (piece, _, mark, _), at in zip(loaded.stamps, self.session.times(loaded), strict=True):
            if mark.behind:
                done[piece.tenant] = max(done[piece.tenant], at)
        return done

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> tuple[tuple[float, float], ...]:
        """Alternate which of the two goes first, so that neither always follows the other."""
        one, other = self.load(a), self.load(b)
        for loaded in (one, other) * WARM_UPS:
            self.session.run(loaded)
        found = []
        for number in range(pairs):
            if number % 2:
                later = self.seconds(other)
                found.append((self.seconds(one), later))
            else:
                found.append((self.seconds(one), self.seconds(other)))
        self.session.discard(one, other)
        return tuple(found)

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run, counted from the first."""
        return self.session.timeline(lower(self.workload, schedule, self.session.memory))

    def profile(self) -> Profile:
        """Time every variant in runs of the whole workload: one stream for all, and one for each tenant."""
        most = max((len(k.variants) for tenant in self.workload.tenants for k in tenant.kernels), default=1)
        lanes = min(len(self.session.streams), len(self.workload.tenants))
        alone = self._times(one_stream, 1, most)
        shared = self._times(stream_per_tenant, lanes, most) if lanes > 1 else alone
        return Profile(alone, shared, self._handover(), self._gap())

    def _times(self, make: Make, lanes: int, most: int) -> Rows:
        """Shortest seconds of each variant; a kernel with fewer variants than others is timed again with its last."""
        best: dict[tuple[int, int, int], float] = {}
        for variant in range(most):
            loaded = self.load(with_variant(self.workload, make(self.workload, lanes), variant), "slices")
            for _ in range(WARM_UPS + PROFILE_RUNS):
                self.seconds(loaded)
                for piece, _, begin, end in self.session.spans(loaded):
                    where = (piece.tenant, piece.kernel, piece.variant)
                    best[where] = min(best.get(where, math.inf), max(0.0, end - begin))
            self.session.discard(loaded)
        return tuple(
            tuple(tuple(best[t, k, v] for v in range(len(kernel.variants))) for k, kernel in enumerate(tenant.kernels))
            for t, tenant in enumerate(self.workload.tenants)
        )

    def _gap(self) -> float:
        """Median seconds from the end of a slice to the start of the next on its stream."""
        loaded = self.load(one_stream(self.workload, 1), "slices")
        self.seconds(loaded)
        spans = self.session.spans(loaded)
        self.session.discard(loaded)
        return _median(later.begin_s - before.end_s for before, later in pairwise(spans) if before.lane == later.lane)

    def _handover(self) -> float:
        """Median seconds from the end of the last slice waited for to the start of the waiting one."""
        lanes = len(self.session.streams)
        loaded = self.load(branch_streams(self.workload, lanes), "slices")
        self.seconds(loaded)
        lane_spans: list[list[tuple[float, float]]] = [[] for _ in range(lanes)]
        for _, lane, begin, end in self.session.spans(loaded):
            lane_spans[lane].append((begin, end))
        self.session.discard(loaded)
        gaps = []
        for lane, slices in enumerate(loaded.plan.lanes):
            for position, piece in enumerate(slices):
                ends = [lane_spans[wait.lane][wait.count - 1][1] for wait in piece.waits]
                previous = lane_spans[lane][position - 1][1] if position else 0.0
                if ends and max(ends) > previous:
                    gaps.append(lane_spans[lane][position][0] - max(ends))
        return _median(gaps)


def _median(seconds: Iterable[float]) -> float:
    """The median where it is above 0; clocks of the device are no finer than half a microsecond."""
    ordered = sorted(seconds)
    return max(0.0, ordered[len(ordered) // 2]) if ordered else 0.0


def with_variant(workload: Workload, schedule: Schedule, variant: int) -> Schedule:
    """The schedule with the given variant of every kernel, or its last one where it has fewer."""
    rows = tuple(tuple(min(variant, len(k.variants) - 1) for k in tenant.kernels) for tenant in workload.tenants)
    return replace(schedule, variants=rows)


def open_bench(folder: Path, workload: Workload, lanes: int) -> CudaBench:
    """Load module and weights from a folder that was prepared for a measuring child."""
    from gacer_tune.executor.cuda.nvidia import Nvidia

    session = CudaSession(Nvidia(folder / "module.so"), workload, place(workload), lanes)
    session.read_weights(folder / "weights.safetensors")
    return CudaBench(session)
