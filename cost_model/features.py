"""A plan as a vector of numbers, for the regression that corrects the timeline.

Ratios and logarithms, never names: what is learned on one workload says something about the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gacer_tune.cost_model.timeline import Timeline
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Workload

FEATURES_VERSION = 1  # raise it with every change of meaning, order or number: models of another version are refused

KINDS = ("conv2d", "depthwise", "matmul", "bmm", "pool", "reduction", "softmax", "norm", "mapping", "other")
TENANTS = 6  # the first tenants have figures of their own, the last of these stands for all that follow

_PLAN = ("log_makespan", "lanes", "residue_share", "pointers", "log_slices", "slices_per_kernel", "waits_per_slice")
_LOADS = ("load_least", "load_mean", "load_most", "log_slice_mean", "log_slice_longest")
_OVERLAP = (
    "idle_share",
    "one_lane_share",
    "all_lanes_share",
    "lanes_mean",
    "tenants_overlap_share",
    "log_bandwidth_mean",
    "log_bandwidth_square",
    "log_bandwidth_peak",
    "log_footprint_mean",
    "log_footprint_peak",
    "log_flops_rate",
)

NAMES: tuple[str, ...] = (
    *_PLAN,
    *_LOADS,
    *_OVERLAP,
    *(f"kind_{kind}" for kind in KINDS),
    *(f"tenant{t}_{what}" for t in range(TENANTS) for what in ("end", "busy", "overlapped")),
)

Vector = npt.NDArray[np.float64]


class _Piece(NamedTuple):  # made by the thousand: a named tuple takes a third of a frozen dataclass's time
    """A slice in the timeline with what it moves and computes; `tenant` is at most TENANTS - 1, `kind` one of KINDS."""

    start_s: float
    end_s: float
    seconds: float
    tenant: int
    kind: int
    nbytes: float
    flops: float


def features(workload: Workload, plan: Plan, timeline: Timeline) -> Vector:
    """The figures of a simulated plan, float64 of shape (len(NAMES),), all finite, in the order of NAMES."""
    pieces = _pieces(workload, plan, timeline)
    sweep, makespan_s = _Sweep(pieces, len(plan.lanes)), timeline.makespan_s
    values = [
        *_plan_figures(plan, timeline, pieces),
        *_load_figures(timeline, pieces),
        *sweep.figures(makespan_s),
        _log(sum(piece.flops for piece in pieces) / (makespan_s or 1.0)),
        *_kind_shares(pieces),
    ]
    busy = sum(piece.seconds for piece in pieces) or 1.0
    for number in range(TENANTS):
        own = [t for t in range(len(workload.tenants)) if min(t, TENANTS - 1) == number]
        values.append(max((timeline.tenants_s[t] for t in own), default=0.0) / (makespan_s or 1.0))
        values.append(sum(piece.seconds for piece in pieces if piece.tenant == number) / busy)
        values.append(sweep.overlapped[number] / busy)
    return np.array(values, dtype=np.float64)


def _pieces(workload: Workload, plan: Plan, timeline: Timeline) -> list[_Piece]:
    kinds = [
        [KINDS.index(op.kind) if op.kind in KINDS else len(KINDS) - 1 for op in tenant.ops for _ in op.kernels]
        for tenant in workload.tenants
    ]
    kernels = [tenant.kernels for tenant in workload.tenants]
    found = []
    for lane, starts, ends in zip(plan.lanes, timeline.starts_s, timeline.ends_s, strict=True):
        for piece, start, end in zip(lane, starts, ends, strict=True):
            kernel = kernels[piece.tenant][piece.kernel]
            part = (piece.hi - piece.lo) / kernel.variants[piece.variant].items
            kind = kinds[piece.tenant][piece.kernel]
            tenant = min(piece.tenant, TENANTS - 1)
            found.append(_Piece(start, end, end - start, tenant, kind, part * kernel.nbytes, part * kernel.flops))
    return found


def _plan_figures(plan: Plan, timeline: Timeline, pieces: Sequence[_Piece]) -> list[float]:
    pool_s = len(plan.lanes) * timeline.makespan_s
    kernels = {(piece.tenant, piece.kernel) for piece in plan.slices()}
    count = max(len(pieces), 1)
    return [
        _log(timeline.makespan_s),
        len(plan.lanes),
        timeline.residue_s / pool_s if pool_s else 0.0,
        timeline.pointers,
        _log(count),
        len(pieces) / max(len(kernels), 1),
        sum(len(piece.waits) for piece in plan.slices()) / count,
    ]


def _load_figures(timeline: Timeline, pieces: Sequence[_Piece]) -> list[float]:
    loads = [busy / (timeline.makespan_s or 1.0) for busy in timeline.busy_s]
    seconds = [piece.seconds for piece in pieces] or [0.0]
    mean = sum(seconds) / len(seconds)
    return [min(loads), sum(loads) / len(loads), max(loads), _log(mean), _log(max(seconds))]


def _kind_shares(pieces: Sequence[_Piece]) -> list[float]:
    """Share of the busy lane-seconds by kind of op."""
    shares = [0.0] * len(KINDS)
    for piece in pieces:
        shares[piece.kind] += piece.seconds
    total = sum(shares) or 1.0
    return [share / total for share in shares]


class _Sweep:
    """What runs together, by time, over all pieces of a timeline.

    by_count[n]: seconds with n busy lanes; overlapped[t]: lane-seconds of tenant t beside slices of other tenants;
    mixed_s: seconds with slices of more than one tenant.
    """

    def __init__(self, pieces: Sequence[_Piece], lanes: int) -> None:
        self.by_count, self.overlapped, self.mixed_s = [0.0] * (lanes + 1), [0.0] * TENANTS, 0.0
        self.bandwidth, self.footprint = _Level(), _Level()
        running, before = [0] * TENANTS, 0.0
        events = [(piece.start_s, 1, number) for number, piece in enumerate(pieces) if piece.seconds > 0]
        events += [(piece.end_s, -1, number) for number, piece in enumerate(pieces) if piece.seconds > 0]
        for at, sign, number in sorted(events):  # ends before starts of the same moment
            if at > before:
                self._hold(running, at - before)
            piece, before = pieces[number], at
            running[piece.tenant] += sign
            self.bandwidth.now += sign * piece.nbytes / piece.seconds
            self.footprint.now += sign * piece.nbytes

    def _hold(self, running: list[int], seconds: float) -> None:
        self.by_count[sum(running)] += seconds
        self.bandwidth.hold(seconds)
        self.footprint.hold(seconds)
        if sum(map(bool, running)) > 1:
            self.mixed_s += seconds
            for tenant, count in enumerate(running):
                self.overlapped[tenant] += seconds * count

    def figures(self, makespan_s: float) -> list[float]:
        """The figures of _OVERLAP but the last."""
        total, lanes = makespan_s or 1.0, len(self.by_count) - 1
        return [
            (makespan_s - sum(self.by_count[1:])) / total,
            (self.by_count[1] if lanes > 1 else 0.0) / total,
            self.by_count[lanes] / total,
            sum(count * seconds for count, seconds in enumerate(self.by_count)) / total,
            self.mixed_s / total,
            _log(self.bandwidth.area / total),
            _log(math.sqrt(self.bandwidth.square / total)),
            _log(self.bandwidth.peak),
            _log(self.footprint.area / total),
            _log(self.footprint.peak),
        ]


class _Level:
    """A quantity over time: what it is now, its peak and its integral, plain and squared."""

    def __init__(self) -> None:
        self.now = self.peak = self.area = self.square = 0.0

    def hold(self, seconds: float) -> None:
        now = max(self.now, 0.0)  # sums of differences leave rounding errors behind
        self.peak = max(self.peak, now)
        self.area += seconds * now
        self.square += seconds * now * now


def _log(value: float) -> float:
    """Logarithm of a figure that is never negative; a thing that is not there counts as very little."""
    return math.log(max(value, 1e-12))
