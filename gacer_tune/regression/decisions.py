"""What two schedules decide otherwise, tenant by tenant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gacer_tune.artifact import Artifact
from gacer_tune.errors import UserError
from gacer_tune.ir.neighbours import normal
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import IllegalScheduleError, verify
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.regression.change import Change, Place, changed

_FUNCTION = re.compile(r"\bgt_(\w+)_([0-9a-f]{6})[0-9a-f]{14}\b")
_CLUSTERS = " | "  # between what is decided for one cluster and for the next


def decisions(before: Artifact, after: Artifact) -> tuple[Change, ...]:
    """Differences of the schedules `best`, exact: a number without effect (see `normal`) is no difference.

    Tenants are matched by name; one that only one side has, or whose ops differ, has no decisions in common and is
    left out. Raises UserError for an artifact whose schedule does not fit its own workload.
    """
    one, other = _best(before), _best(after)
    names = [tenant.name for tenant in after.workload.tenants]
    known = {tenant.name: number for number, tenant in enumerate(before.workload.tenants)}
    found = list(_of_clusters(before.workload, after.workload, one, other))
    for number, name in enumerate(names):
        if name in known:
            found += _of_tenant(_Side(before.workload, one, known[name]), _Side(after.workload, other, number))
    return tuple(found)


def _best(artifact: Artifact) -> Schedule:
    if "best" not in artifact.schedules:
        raise UserError(f"{artifact.folder}: no schedule 'best', it has {', '.join(artifact.schedules) or 'none'}")
    schedule = artifact.schedules["best"]
    try:
        verify(artifact.workload, schedule)
    except IllegalScheduleError as error:
        raise UserError(f"{artifact.folder}: schedule 'best': {error}") from error
    return normal(artifact.workload, schedule)


def _of_clusters(before: Workload, after: Workload, one: Schedule, other: Schedule) -> Iterator[Change]:
    values = {
        "lanes in all": (one.lanes, other.lanes),
        "clusters": (len(one.clusters), len(other.clusters)),
        "order of tenants": (_orders(before, one), _orders(after, other)),
        "issue": (_issues(one), _issues(other)),
        "lane priorities": (
            _of_lanes(one.priorities and one.lane_priorities),
            _of_lanes(other.priorities and other.lane_priorities),
        ),
        "work stealing": (_yes(one.steal), _yes(other.steal)),
        "lane shares": (_of_lanes(one.shares and one.lane_shares), _of_lanes(other.shares and other.lane_shares)),
    }
    yield from changed("schedule", "", values)


def _orders(workload: Workload, schedule: Schedule) -> str:
    names = [tenant.name for tenant in workload.tenants]
    return _CLUSTERS.join(", ".join(names[t] for t in cluster.order) for cluster in schedule.clusters)


def _issues(schedule: Schedule) -> str:
    return _CLUSTERS.join("breadth-first" if cluster.breadth else "depth-first" for cluster in schedule.clusters)


def _yes(given: bool) -> str:
    return "yes" if given else "no"


def _of_lanes(values: Sequence[int]) -> str:
    """(0, 2, 0) -> `0, 2, 0`: whose slices start first on a GPU, or how many of its parts each lane has."""
    return ", ".join(map(str, values)) if values else "none"


@dataclass(frozen=True, slots=True)
class _Side:
    """One tenant in one of the artifacts."""

    workload: Workload
    schedule: Schedule
    number: int

    @property
    def tenant(self) -> Tenant:
        return self.workload.tenants[self.number]

    def row(self, field: str) -> tuple[int, ...]:
        """chunks, first or variants of the tenant."""
        rows: tuple[tuple[int, ...], ...] = getattr(self.schedule, field)
        return rows[self.number]


def _functions(workload: Workload) -> set[str]:
    return {v.function for tenant in workload.tenants for kernel in tenant.kernels for v in kernel.variants}


def _of_tenant(one: _Side, other: _Side) -> Iterator[Change]:
    name = other.tenant.name
    yield from changed("schedule", name, {"lanes by cluster": (_lanes(one), _lanes(other))})
    if not same_ops(one.tenant, other.tenant):
        return
    yield from changed("schedule", name, {"pointers": (_pointers(one), _pointers(other))})
    ops = [op.name for op in other.tenant.ops]
    for what, field, words in (("chunks", "chunks", _chunks_text), ("first lane", "first", str)):
        before, after = (list(map(words, side.row(field))) for side in (one, other))
        yield from _listed(name, what, "ops", (ops, before, after))
    same_code = bool(_functions(one.workload) & _functions(other.workload))
    before, after = (_variants(side, same_code) for side in (one, other))
    yield from _listed(name, "variants", "kernels", (kernel_names(other.tenant), before, after))


def same_ops(one: Tenant, other: Tenant) -> bool:
    """True when the tenants have the same ops in the same order, so that decisions about them can be compared."""
    return [(op.name, len(op.kernels)) for op in one.ops] == [(op.name, len(op.kernels)) for op in other.ops]


def _listed(tenant: str, what: str, of: str, rows: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> list[Change]:
    """One change for all places that differ; rows: their names, and what was decided before and after."""
    places = tuple(
        Place(name, _short(one), _short(other)) for name, one, other in zip(*rows, strict=True) if one != other
    )
    count = f"{len(places)} of {len(rows[0])} {of}"
    return [Change("schedule", what, tenant, "", count, places)] if places else []


def _short(text: str) -> str:
    """`gt_conv2d_3e1d30a38bce47145350` -> `conv2d-3e1d30`: enough of a digest for people."""
    return _FUNCTION.sub(r"\1-\2", text)


def _lanes(side: _Side) -> str:
    return _CLUSTERS.join(lanes_text(cluster.lanes[side.number]) for cluster in side.schedule.clusters)


def lanes_text(lanes: Sequence[int]) -> str:
    """(0, 1, 2) -> `0-2`, (2, 0) -> `2,0`: slices go round the lanes in this order."""
    run = len(lanes) > 1 and all(b == a + 1 for a, b in pairwise(lanes))
    return f"{lanes[0]}-{lanes[-1]}" if run else ",".join(map(str, lanes))


def _pointers(side: _Side) -> str:
    ops = [*(op.name for op in side.tenant.ops), "the end"]
    return ", ".join(f"before {ops[pointer]}" for pointer in side.row("pointers")) or "none"


def _chunks_text(chunks: int) -> str:
    return str(chunks) if chunks else "one a lane"


def kernel_names(tenant: Tenant) -> list[str]:
    """`conv_1`, or `conv_1/0` and `conv_1/1` where an op has several kernels."""
    return [
        op.name if len(op.kernels) == 1 else f"{op.name}/{phase}"
        for op in tenant.ops
        for phase in range(len(op.kernels))
    ]


def _variants(side: _Side, same_code: bool) -> list[str]:
    """What is compared and shown of the chosen variants.

    The compiled function, where both sides were compiled from the same code: its number in a kernel's list depends on
    the times at which it was selected. Else all functions have other names, and the number of work items is left.
    """
    chosen = [kernel.variants[v] for kernel, v in zip(side.tenant.kernels, side.row("variants"), strict=True)]
    return [f"{v.items} items by {v.function}" if same_code else f"{v.items} items" for v in chosen]
