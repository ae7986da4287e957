"""A plan as a vector of numbers, for the regression that corrects the timeline.

Ratios and logarithms, never names or the size of the whole: what is learned on one workload says something about the
next. Tenants are told apart by their share of the work, the largest first.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.kinds import GROUPS
from gacer_tune.cost_model.pieces import BOUNDS, Pieces, Tables
from gacer_tune.cost_model.sweep import Sweep
from gacer_tune.cost_model.timeline import Timeline
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Workload

FEATURES_VERSION = 3  # raise it with every change of meaning, order or number: models of another version are refused

TENANTS = 4  # the largest tenants have figures of their own, the last of these stands for all that follow

GROUPED: dict[str, tuple[str, ...]] = {
    "plan": ("log_stretch", "lanes", "residue_share", "pointers", "log_slices", "slices_per_kernel"),
    "waiting": (
        *("waits_per_slice", "stalled_share", "log_stall_mean", "stall_longest_share"),
        *("critical_handovers", "handover_share", "launch_share", "cluster_imbalance"),
    ),
    "load": ("load_least", "load_mean", "load_most", "log_slice_mean", "log_slice_longest", "small_share"),
    "cut": ("split_share", "remote_share", "apart_share", "extra_work", "log_streamed_per_s", "weights_share"),
    "overlap": (
        *("idle_share", "one_lane_share", "all_lanes_share", "lanes_mean", "tenants_overlap_share"),
        *("log_bandwidth_mean", "log_bandwidth_square", "log_bandwidth_peak"),
        *("log_footprint_mean", "log_footprint_peak", "beyond_cache_share", "pressure_mean", "log_flops_rate"),
    ),
    "character": (
        *(f"{bound}_share" for bound in BOUNDS),
        *("memory_meets_memory", "memory_meets_compute", "compute_meets_compute"),
    ),
    "kinds": tuple(f"kind_{kind}" for kind in GROUPS),
    "tenants": tuple(f"tenant{t}_{what}" for t in range(TENANTS) for what in ("end", "busy", "overlapped")),
}
NAMES: tuple[str, ...] = tuple(name for names in GROUPED.values() for name in names)

Vector = npt.NDArray[np.float64]

_SMALL_S = 5e-6  # a slice below this is mostly overhead
_CACHE_NBYTES = 1 << 25  # of the last level, as far as anybody can count on it


class Extractor:
    """Turns simulated plans of one workload into vectors; its tables are made once."""

    def __init__(self, workload: Workload, costs: Costs) -> None:
        self._tables = Tables(workload, costs, TENANTS)

    def of(self, plan: Plan, timeline: Timeline) -> Vector:
        """The figures of a simulated plan, float64 of shape (len(NAMES),), all finite, in the order of NAMES."""
        if not any(plan.lanes):
            return np.zeros(len(NAMES))
        pieces = Pieces(self._tables, plan, timeline)
        values = [
            *_plan(pieces, plan, timeline),
            *_waiting(pieces, timeline),
            *_load(pieces, timeline),
            *_cut(pieces),
            *_overlap(pieces),
            *pieces.shares(pieces.kinds, len(GROUPS)),
            *_tenants(pieces, timeline),
        ]
        return np.array(values, dtype=np.float64)


def _plan(pieces: Pieces, plan: Plan, timeline: Timeline) -> list[float]:
    pool_s = len(plan.lanes) * pieces.total_s
    ideal_s = pieces.tables.least_s / len(plan.lanes)
    return [
        _log(pieces.total_s / (ideal_s or 1.0)),
        len(plan.lanes),
        timeline.residue_s / pool_s,
        timeline.pointers,
        _log(pieces.count),
        pieces.count / max(len(np.unique(pieces.kernels)), 1),
    ]


def _waiting(pieces: Pieces, timeline: Timeline) -> list[float]:
    """Idle gaps before slices, and the hand-overs that the last slice of the run had to wait for."""
    gaps_s = pieces.gaps_s
    stalls = gaps_s[gaps_s > 0]
    hops = pieces.critical_handovers()
    return [
        float(pieces.waits.sum()) / pieces.count,
        len(stalls) / pieces.count,
        _log(float(stalls.mean()) if stalls.size else 0.0),
        float(stalls.max(initial=0.0)) / pieces.total_s,
        math.log1p(hops),
        hops * timeline.switch_s / pieces.total_s,
        pieces.count * pieces.tables.launch_s / pieces.total_s,
        pieces.imbalance(),
    ]


def _load(pieces: Pieces, timeline: Timeline) -> list[float]:
    loads = [busy / pieces.total_s for busy in timeline.busy_s]
    small = pieces.seconds[pieces.seconds < _SMALL_S].sum()
    return [
        min(loads),
        sum(loads) / len(loads),
        max(loads),
        _log(float(pieces.seconds.mean())),
        _log(float(pieces.seconds.max())),
        float(small) / pieces.busy_s,
    ]


def _cut(pieces: Pieces) -> list[float]:
    """What comes of cutting kernels and spreading them: work on data of other lanes, slower variants, cold weights."""
    moved = float(pieces.nbytes.sum()) or 1.0
    return [
        float(pieces.seconds[pieces.parts < 1.0].sum()) / pieces.busy_s,
        float(pieces.remote @ pieces.seconds) / pieces.busy_s,
        float(pieces.apart_s.sum()) / pieces.busy_s,
        _log(pieces.alone_s / (pieces.tables.least_s or 1.0)),
        _log(float(pieces.streamed.sum()) / pieces.total_s),
        float(pieces.weights.sum()) / moved,
    ]


def _overlap(pieces: Pieces) -> list[float]:
    """What runs together; the figures of "overlap" and of "character"."""
    rates = pieces.nbytes / np.maximum(pieces.seconds, 1e-12)
    memory, compute = pieces.bounds == 0, pieces.bounds == len(BOUNDS) - 1
    owners = np.eye(TENANTS)[pieces.tenants]
    columns = [np.ones(pieces.count), rates, pieces.nbytes, pieces.demands, pieces.demands**2, memory, compute]
    sweep = Sweep(pieces.starts_s, pieces.ends_s, np.column_stack([*columns, owners]))
    count, rate, footprint, demand, squares, mem, comp = sweep.levels[:, :7].T
    pieces.mixed = (sweep.levels[:, 7:] > 0.5).sum(axis=1) > 1
    pieces.beside = sweep.spans_s * pieces.mixed @ sweep.levels[:, 7:]
    lanes, total = pieces.tables.lanes, pieces.total_s
    busy = [float(sweep.spans_s @ (np.abs(count - n) < 0.5)) / total for n in (0, 1, lanes)]
    return [
        busy[0],
        busy[1] if lanes > 1 else 0.0,
        busy[2],
        sweep.mean(count, total),
        sweep.mean(pieces.mixed, total),
        _log(sweep.mean(rate, total)),
        _log(math.sqrt(sweep.mean(rate**2, total))),
        _log(sweep.peak(rate)),
        _log(sweep.mean(footprint, total)),
        _log(sweep.peak(footprint)),
        sweep.mean(footprint > _CACHE_NBYTES, total),
        sweep.mean(np.maximum(demand**2 - squares, 0.0), total),
        _log(float(pieces.flops.sum()) / total),
        *pieces.shares(pieces.bounds, len(BOUNDS)),
        sweep.mean(mem > 1.5, total),
        sweep.mean((mem > 0.5) & (comp > 0.5), total),
        sweep.mean(comp > 1.5, total),
    ]


def _tenants(pieces: Pieces, timeline: Timeline) -> list[float]:
    values = []
    shares = pieces.shares(pieces.tenants, TENANTS)
    for number in range(TENANTS):
        ends = [timeline.tenants_s[t] for t, place in enumerate(pieces.tables.places) if place == number]
        values += [max(ends, default=0.0) / pieces.total_s, shares[number], pieces.beside[number] / pieces.busy_s]
    return values


def _log(value: float) -> float:
    """Logarithm of a figure that is never negative; a thing that is not there counts as very little."""
    return math.log(max(value, 1e-12))
