"""What ran where and when: the slices of one run as rectangles on their lanes, simulated or recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload

Row = tuple[int, str, int, int, float, float]  # tenant, op, kernel, lane, begin_s, end_s: as the runtime traces


@dataclass(frozen=True, slots=True)
class Span:
    """One slice, or what another lane stole of one. wait_s: how long its lane had been idle before; piece: None where
    it is not known, and of what was stolen."""

    lane: int
    tenant: int
    op: str
    kernel: int
    begin_s: float
    end_s: float
    wait_s: float
    piece: Slice | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One run of all tenants, whose names are in order; spans are in order of time within each lane."""

    title: str
    tenants: tuple[str, ...]
    lanes: int
    spans: tuple[Span, ...]

    @property
    def end_s(self) -> float:
        return max((span.end_s for span in self.spans), default=0.0)

    @property
    def busy(self) -> tuple[float, ...]:
        """Share of the run for which each lane runs slices."""
        total = [0.0] * self.lanes
        for span in self.spans:
            total[span.lane] += span.end_s - span.begin_s
        return tuple(seconds / self.end_s if self.end_s > 0 else 0.0 for seconds in total)


def simulated(title: str, workload: Workload, schedule: Schedule, profile: Profile) -> Track:
    """The run that the timeline predicts. Raises IllegalScheduleError for a schedule of another workload."""
    plan = lower(workload, schedule)
    timeline = simulate(workload, plan, profile)
    rows = [
        (piece.tenant, workload.tenants[piece.tenant].op_of[piece.kernel].name, piece.kernel, lane, begin, end)
        for lane, pieces in enumerate(plan.lanes)
        for piece, begin, end in zip(pieces, timeline.starts_s[lane], timeline.ends_s[lane], strict=True)
    ]
    return recorded(title, workload, plan, rows)


def recorded(title: str, workload: Workload, plan: Plan, rows: Sequence[Row]) -> Track:
    """The run that was traced, from rows in the order of the plan, and behind them what was stolen; each row gets its
    slice where both agree."""
    pieces: list[Slice | None] = list(plan.slices())
    if [(row[0], row[2]) for row in rows[: len(pieces)]] != [(p.tenant, p.kernel) for p in plan.slices()]:
        pieces = []
    ends = [0.0] * len(plan.lanes)
    spans = []
    known = zip_longest(rows, pieces)
    for (tenant, op, kernel, lane, begin, end), piece in sorted(known, key=lambda pair: (pair[0][3], pair[0][4])):
        spans.append(Span(lane, tenant, op, kernel, begin, end, max(0.0, begin - ends[lane]), piece))
        ends[lane] = end
    return Track(title, tuple(tenant.name for tenant in workload.tenants), len(plan.lanes), tuple(spans))
