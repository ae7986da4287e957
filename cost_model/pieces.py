"""The slices of a simulated plan as columns: what each computes and moves, where, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.interference import streamed_nbytes
from gacer_tune.cost_model.kinds import group
from gacer_tune.cost_model.timeline import Timeline
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Workload

Column = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

BOUNDS = ("memory_bound", "balanced", "compute_bound")
_INTENSITY = (4.0, 32.0)  # flops for each byte moved, up to which a kernel is memory-bound, from which compute-bound


class Tables:
    """Figures of every kernel (flat over the tenants) and of every variant (flat over the kernels)."""

    def __init__(self, workload: Workload, costs: Costs, tenants: int) -> None:
        kernels = [
            (t, k, kernel) for t, tenant in enumerate(workload.tenants) for k, kernel in enumerate(tenant.kernels)
        ]
        self.lanes, self.launch_s = costs.lanes, costs.profile.launch_s
        self.first_kernel = _starts([len(tenant.kernels) for tenant in workload.tenants])
        self.first_variant = _starts([len(kernel.variants) for _, _, kernel in kernels])
        self.kinds = np.array([group(op.kind) for tenant in workload.tenants for op in tenant.op_of], np.int64)
        self.nbytes = np.array([kernel.nbytes for _, _, kernel in kernels], np.float64)
        self.flops = np.array([kernel.flops for _, _, kernel in kernels], np.float64)
        streamed = np.array([streamed_nbytes(workload.tenants[t], kernel) for t, _, kernel in kernels], np.float64)
        weights = np.array([_weights(workload, t, k) for t, k, _ in kernels], np.float64)
        # Tables that are looked up are not read whole.
        self.streamed, self.weights = np.minimum(streamed, self.nbytes), np.minimum(weights, self.nbytes)
        self.bounds = np.digitize(self.flops / np.maximum(self.nbytes, 1.0), _INTENSITY)
        self.items = np.array([v.items for _, _, kernel in kernels for v in kernel.variants], np.float64)
        self.alone = np.array([s for rows in costs.alone for row in rows for s in row], np.float64)
        self.apart = np.array([s for rows in costs.apart for row in rows for s in row], np.float64)
        self.demands = np.array([d for rows in costs.demands for row in rows for d in row], np.float64)
        best = [[min(row) for row in rows] for rows in costs.alone]
        self.least_s = sum(map(sum, best))
        order = sorted(range(len(best)), key=lambda t: -sum(best[t]))
        self.places = [min(order.index(t), tenants - 1) for t in range(len(best))]
        self._edges(costs)

    def _edges(self, costs: Costs) -> None:
        """(reader, writer, share of what the reader reads) of kernels, and which kernels read from no other."""
        found = [
            (self.first_kernel[t] + k, self.first_kernel[t] + source, share)
            for t, rows in enumerate(costs.sources)
            for k, sources in enumerate(rows)
            for source, share in sources
        ]
        self.readers = np.array([reader for reader, _, _ in found], np.int64)
        self.writers = np.array([writer for _, writer, _ in found], np.int64)
        self.portions = np.array([share for _, _, share in found], np.float64)
        self.rootless = np.ones(len(self.kinds), bool)
        self.rootless[self.readers] = False


class Pieces:
    """One entry for each slice, lane by lane, in the order they run. `mixed` and `beside` are filled in by a sweep."""

    def __init__(self, tables: Tables, plan: Plan, timeline: Timeline) -> None:
        self.tables, self._plan, self._timeline = tables, plan, timeline
        rows = [
            (tables.first_kernel[p.tenant] + p.kernel, p.tenant, p.variant, p.hi - p.lo, p.cluster, len(p.waits))
            for lane in plan.lanes
            for p in lane
        ]
        table: Any = np.array(rows, np.int64).reshape(-1, 6).T
        self.kernels, owners, chosen, sizes, self.clusters, self.waits = table
        self.count = len(rows)
        self.lanes = np.repeat(np.arange(len(plan.lanes)), [len(lane) for lane in plan.lanes])
        self.starts_s = np.concatenate([np.asarray(row, np.float64) for row in timeline.starts_s])
        self.ends_s = np.concatenate([np.asarray(row, np.float64) for row in timeline.ends_s])
        self.seconds = self.ends_s - self.starts_s
        self.total_s = timeline.makespan_s or 1.0
        self.busy_s = float(self.seconds.sum()) or 1.0
        self.tenants = np.array(tables.places, np.int64)[owners]
        variants = tables.first_variant[self.kernels] + chosen
        self.parts = sizes / tables.items[variants]
        self.alone_s = float(self.parts @ tables.alone[variants])
        self.remote = self._remote()
        self.apart_s = self.parts * self.remote * tables.apart[variants]
        self.demands = tables.demands[variants]
        self.kinds, self.bounds = tables.kinds[self.kernels], tables.bounds[self.kernels]
        self.nbytes, self.flops, self.streamed, self.weights = (
            self.parts * column[self.kernels]
            for column in (tables.nbytes, tables.flops, tables.streamed, tables.weights)
        )
        self.mixed: Any = np.zeros(0)
        self.beside: Any = np.zeros(0)

    def _remote(self) -> Column:
        """As Costs.remote, for all slices at once."""
        tables = self.tables
        here = np.zeros((len(tables.kinds), len(self._plan.lanes)))
        np.add.at(here, (self.kernels, self.lanes), self.parts)
        near = np.zeros_like(here)
        np.add.at(near, tables.readers, tables.portions[:, None] * here[tables.writers])
        near[tables.rootless] = here[tables.rootless]
        found: Column = 1.0 - near[self.kernels, self.lanes]
        return found

    @property
    def gaps_s(self) -> Column:
        """Idle seconds of the lane before each slice."""
        before = np.concatenate([[0.0], self.ends_s[:-1]])
        before[np.concatenate([[True], self.lanes[1:] != self.lanes[:-1]])] = 0.0
        gaps: Column = np.maximum(self.starts_s - before, 0.0)
        return gaps

    def shares(self, column: Numbers, count: int) -> list[float]:
        """Share of the busy lane-seconds by the numbers in the column."""
        found: list[float] = (np.bincount(column, self.seconds, minlength=count) / self.busy_s).tolist()
        return found

    def imbalance(self) -> float:
        """Over the clusters: how much longer the fullest lane is busy than the mean, as a share of the run."""
        lanes = len(self._plan.lanes)
        loads = np.bincount(self.clusters * lanes + self.lanes, self.seconds, (self.clusters.max() + 1) * lanes)
        loads = loads.reshape(-1, lanes)
        return float((loads.max(axis=1) - loads.mean(axis=1)).sum()) / self.total_s

    def critical_handovers(self) -> int:
        """Waits for another lane on the path of slices, each started by the end of the one before, to the end."""
        timeline, stalled = self._timeline, self.gaps_s > 0
        first = np.cumsum([0, *(len(row) for row in timeline.ends_s)])
        latest = np.maximum.accumulate(np.where(stalled, np.arange(self.count), -1))
        ends = [row[-1] if row else 0.0 for row in timeline.ends_s]
        lane = ends.index(max(ends))
        at, hops = len(timeline.ends_s[lane]) - 1, 0
        while (row := int(latest[first[lane] + at])) >= first[lane] and hops < self.count:
            waits = self._plan.lanes[lane][row - int(first[lane])].waits
            if not waits:
                break
            last = max(waits, key=lambda wait: timeline.ends_s[wait.lane][wait.count - 1])
            lane, at, hops = last.lane, last.count - 1, hops + 1
        return hops


def _starts(counts: list[int]) -> Numbers:
    return np.cumsum([0, *counts])[:-1].astype(np.int64)


def _weights(workload: Workload, tenant: int, kernel: int) -> int:
    buffers = workload.tenants[tenant].buffers
    reads = workload.tenants[tenant].kernels[kernel].reads
    return sum(buffers[b].nbytes for b in reads if buffers[b].kind == "weight")
