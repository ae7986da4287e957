"""Measures schedules on the GPU of this process, by events on the device; crashes are dealt with one level up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gacer_tune.cost_model.profile import Profile, Rows
from gacer_tune.devices.checked import CheckedBench, Spans, Variants
from gacer_tune.devices.profiling import most_variants, nth_variants
from gacer_tune.executor.cuda.graph import Marks
from gacer_tune.executor.cuda.session import CudaSession, LoadedGraph
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.streams import branch_streams, one_stream, stream_per_tenant

PROFILE_RUNS = 5

Make = Callable[[Workload, int], Schedule]


class CudaBench(CheckedBench[LoadedGraph]):
    """On the GPU of a session.

    Times are seconds on the device, without copies of inputs and outputs: `hertz` is 1. Between two timed runs the
    second-level cache is overwritten, so that every run finds it alike.
    """

    session: CudaSession
    hertz = 1.0
    warm_ups = 2

    def __init__(self, session: CudaSession, variants: Variants | None = None) -> None:
        self._last: LoadedGraph | None = None
        super().__init__(session, variants)

    def lone(self) -> Schedule:
        return self.known(one_stream(self.workload, 1))

    def apart(self) -> Schedule:
        return self.known(branch_streams(self.workload, len(self.session.streams)))

    def load(self, schedule: Schedule, marks: Marks = "none", old: LoadedGraph | None = None) -> LoadedGraph:
        return self.session.load(lower(self.workload, schedule, self.session.memory), marks, old)

    def load_timed(self, schedule: Schedule) -> LoadedGraph:
        """It lives until the next one is asked for."""
        self._last = self.load(schedule, "tenants", self._last)
        return self._last

    def load_marked(self, schedule: Schedule) -> LoadedGraph:
        return self.load(schedule, "slices")

    def discard(self, *loaded: LoadedGraph) -> None:
        self.session.discard(*loaded)

    def seconds(self, loaded: LoadedGraph) -> float:
        self.session.flush()
        return self.session.seconds(loaded)

    def tenants_s(self, loaded: LoadedGraph) -> list[float]:
        done = [0.0] * len(self.workload.tenants)
        for (piece, _, mark, _), at in zip(loaded.stamps, self.session.times(loaded), strict=True):
            if mark.behind:
                done[piece.tenant] = max(done[piece.tenant], at)
        return done

    def spans(self, loaded: LoadedGraph) -> Spans:
        found: list[list[tuple[float, float]]] = [[] for _ in loaded.plan.lanes]
        for _, lane, begin, end in self.session.spans(loaded):
            found[lane].append((begin, end))
        return found

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run, counted from the first."""
        return self.session.timeline(lower(self.workload, schedule, self.session.memory))

    def profile(self) -> Profile:
        """Time every variant in runs of the whole workload: one stream for all, and one for each tenant."""
        lanes = min(len(self.session.streams), len(self.workload.tenants))
        alone = self._times(one_stream, 1)
        shared = self._times(stream_per_tenant, lanes) if lanes > 1 else alone
        return Profile(alone, shared, self.handover(), self.launch())

    def _times(self, make: Make, lanes: int) -> Rows:
        """Shortest seconds of each variant; a kernel with fewer variants than others is timed again with its last."""
        best: dict[tuple[int, int, int], float] = {}
        base = make(self.workload, lanes)
        for variant in range(most_variants(self.workload)):
            loaded = self.load_marked(replace(base, variants=nth_variants(self.workload, variant)))
            for _ in range(self.warm_ups + PROFILE_RUNS):
                self.seconds(loaded)
                for piece, _, begin, end in self.session.spans(loaded):
                    where = (piece.tenant, piece.kernel, piece.variant)
                    best[where] = min(best.get(where, math.inf), max(0.0, end - begin))
            self.session.discard(loaded)
        return tuple(
            tuple(tuple(best[t, k, v] for v in range(len(kernel.variants))) for k, kernel in enumerate(tenant.kernels))
            for t, tenant in enumerate(self.workload.tenants)
        )


def open_bench(folder: Path, workload: Workload, lanes: int) -> CudaBench:
    """Load module and weights from a folder that was prepared for a measuring child."""
    from gacer_tune.executor.cuda.nvidia import Nvidia

    session = CudaSession(Nvidia(folder / "module.so"), workload, place(workload), lanes)
    session.read_weights(folder / "weights.safetensors")
    return CudaBench(session)
