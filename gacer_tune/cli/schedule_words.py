"""A schedule in words."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.ir.schedule import PARTS, Schedule
from gacer_tune.ir.workload import Workload


def schedule_words(workload: Workload, schedule: Schedule) -> list[str]:
    """A line on the whole, one for each cluster, and one on how ops are cut and which variants they use."""
    names = [tenant.name for tenant in workload.tenants]
    lines = [f"{len(names)} tenants on {schedule.lanes} lanes in {_count(len(schedule.clusters), 'cluster')}"]
    bounds = [(0, *row, len(t.ops)) for row, t in zip(schedule.pointers, workload.tenants, strict=True)]
    for number, cluster in enumerate(schedule.clusters):
        present = [t for t in cluster.order if bounds[t][number] < bounds[t][number + 1]]
        turns = " taking turns" if cluster.breadth else ""
        parts = (
            f"{names[t]} ops {bounds[t][number]}-{bounds[t][number + 1] - 1} on {_lanes(cluster.lanes[t])}"
            for t in present
        )
        lines.append(f"cluster {number}:{turns} {', then '.join(parts) or 'nothing'}")
    if schedule.priorities:
        levels = schedule.lane_priorities
        ranked = [[lane for lane, own in enumerate(levels) if own == level] for level in sorted(set(levels))[::-1]]
        lines.append(f"where several lanes could start, first {', then '.join(map(_lanes, ranked))}")
    if schedule.shares:
        owned = [f"lane {lane} has {own}" for lane, own in enumerate(schedule.shares) if own]
        lines.append(f"of the {PARTS} parts of the GPU {', '.join(owned)}; other lanes run on all of them")
    if schedule.steal:
        lines.append("a lane that waits or is done takes over work items of slices that others are at")
    chunks = [count for row in schedule.chunks for count in row]
    variants = [number for row in schedule.variants for number in row]
    cut = sum(count > 0 for count in chunks)
    other = sum(number > 0 for number in variants)
    lines.append(
        f"{cut} of {len(chunks)} ops are cut otherwise than once for each of their lanes; "
        f"{other} of {len(variants)} kernels use another variant than the first"
    )
    return lines


def _lanes(lanes: Sequence[int]) -> str:
    return f"lane{'s' if len(lanes) > 1 else ''} {', '.join(map(str, lanes))}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
