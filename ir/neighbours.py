"""Legal schedules at random, and single moves from a legal schedule to another.

Everything returned is legal for `lower` and in normal form (see `normal`), so that two schedules that decide the same
have one digest as far as that is simple to see.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any, Literal

from gacer_tune.ir import streams
from gacer_tune.ir.schedule import PRIORITIES, Cluster, Schedule
from gacer_tune.ir.workload import Tenant, Workload

Only = Literal["spatial", "temporal"]
Move = Callable[[Workload, Schedule, random.Random], Schedule]

_FRUITLESS_DRAWS = 1000
_PRIORITISED = 0.3  # share of the random schedules whose lanes have priorities, where they can


def neighbours(
    workload: Workload, schedule: Schedule, rng: random.Random, only: Only | None = None
) -> Iterator[Schedule]:
    """Yield legal schedules one move away, for ever, each different from `schedule` but not from each other.

    spatial moves change chunks, lanes and variants (GACER's spatial granularity), temporal ones pointers, the issue
    order and, for target cuda, priorities of lanes. Ends only where a thousand draws in a row changed nothing: the
    workload leaves no choice. Shares of the GPU are changed where the schedule has some: whoever wants them searched
    begins with `streams.even_shares`.
    """
    temporal = (*_TEMPORAL, streams.priority) if workload.target == "cuda" else _TEMPORAL
    spatial = (*_SPATIAL, streams.share) if schedule.shares else _SPATIAL
    moves = {"spatial": spatial, "temporal": temporal, None: spatial + temporal}[only]
    start, fruitless = normal(workload, schedule), 0
    while fruitless < _FRUITLESS_DRAWS and any(tenant.ops for tenant in workload.tenants):
        moved = normal(workload, rng.choice(moves)(workload, start, rng))
        fruitless = fruitless + 1 if moved == start else 0
        if moved != start:
            yield moved


def random_schedule(workload: Workload, lanes: int, rng: random.Random) -> Schedule:
    """A legal schedule: up to three pointers near equal shares of the work, everything else drawn at random."""
    count = len(workload.tenants)
    cuts = sorted(rng.random() for _ in range(rng.choice((0, 0, 1, 1, 2, 3))))
    jitter = rng.choice((0.0, 0.1, 0.5))
    chunked = rng.choice((0.0, 0.1, 0.5))  # share of the ops that are not cut once for each lane
    pointers = []
    for tenant in workload.tenants:
        shares = sorted(cut + rng.uniform(-jitter, jitter) for cut in cuts)
        pointers.append(tuple(_cut(tenant, 0, len(tenant.ops), share) for share in shares))
    clusters = tuple(
        Cluster(
            tuple(_some_lanes(lanes, rng) for _ in range(count)),
            tuple(rng.sample(range(count), count)),
            rng.random() < 0.5,
        )
        for _ in range(len(cuts) + 1)
    )
    schedule = Schedule(
        lanes=lanes,
        pointers=tuple(pointers),
        clusters=clusters,
        chunks=tuple(
            tuple(_some_chunks(lanes, rng) if rng.random() < chunked else 0 for _ in tenant.ops)
            for tenant in workload.tenants
        ),
        first=tuple(tuple(rng.randrange(lanes) for _ in tenant.ops) for tenant in workload.tenants),
        variants=tuple(
            tuple(rng.randrange(len(kernel.variants)) for kernel in tenant.kernels) for tenant in workload.tenants
        ),
    )
    if workload.target == "cuda" and rng.random() < _PRIORITISED:
        schedule = replace(schedule, priorities=tuple(rng.randrange(PRIORITIES) for _ in range(lanes)))
    return normal(workload, schedule)


def cross(workload: Workload, one: Schedule, other: Schedule, rng: random.Random) -> Schedule:
    """Pointers and clusters of `one`; chunks, first lanes and variants of each tenant from either parent."""
    picks = [(one, other)[rng.randrange(2)] for _ in workload.tenants]
    child = replace(
        one,
        chunks=tuple(parent.chunks[t] for t, parent in enumerate(picks)),
        first=tuple(parent.first[t] for t, parent in enumerate(picks)),
        variants=tuple(parent.variants[t] for t, parent in enumerate(picks)),
    )
    return normal(workload, child)


def normal(workload: Workload, schedule: Schedule) -> Schedule:
    """The same behaviour, written in one way: empty clusters removed, numbers without effect set to their default.

    - a tenant without ops in a cluster has all lanes there and comes last in its order; breadth only where it matters
    - chunks above the number of work items become that number, and 0 where they equal the tenant's lanes
    - first lanes are taken modulo the tenant's lanes
    - priorities become ranks, without those of the last lanes where they are 0
    - a single lane does not steal
    - shares are 0 for lanes that no tenant uses, and for the last ones left out

    Chunks above the number of work items, which a move may leave behind, are the only thing that it makes legal.
    """
    bounds = [(0, *row, len(tenant.ops)) for row, tenant in zip(schedule.pointers, workload.tenants, strict=True)]
    kept = [c for c in range(len(schedule.clusters)) if any(row[c] < row[c + 1] for row in bounds)] or [0]
    clusters = []
    for number in kept:
        lengths = [row[number + 1] - row[number] for row in bounds]
        clusters.append(_normal_cluster(schedule.clusters[number], lengths, schedule.lanes))
    schedule = replace(
        schedule,
        clusters=tuple(clusters),
        pointers=tuple(tuple(row[c] for c in kept[1:]) for row in bounds),
        priorities=streams.ranks(schedule.lane_priorities),
        steal=schedule.steal and schedule.lanes > 1,
    )
    if schedule.shares:
        schedule = replace(schedule, shares=streams.normal_shares(schedule))
    rows = [_normal_rows(schedule, t, tenant) for t, tenant in enumerate(workload.tenants)]
    return replace(schedule, chunks=tuple(chunks for chunks, _ in rows), first=tuple(first for _, first in rows))


def _normal_cluster(cluster: Cluster, lengths: Sequence[int], lanes: int) -> Cluster:
    present = [tenant for tenant in cluster.order if lengths[tenant]]
    absent = [tenant for tenant, length in enumerate(lengths) if not length]
    everywhere = tuple(range(lanes))
    return Cluster(
        tuple(own if length else everywhere for own, length in zip(cluster.lanes, lengths, strict=True)),
        (*present, *absent),
        cluster.breadth and len(present) > 1 and max(lengths) > 1,
    )


def _normal_rows(schedule: Schedule, number: int, tenant: Tenant) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunks and first lanes of one tenant."""
    bounds = (0, *schedule.pointers[number], len(tenant.ops))
    starts, variants = tenant.first_kernel, schedule.variants[number]
    chunks, first = [], []
    for cluster, (low, high) in zip(schedule.clusters, pairwise(bounds), strict=True):
        width = len(cluster.lanes[number])
        for op in range(low, high):
            first.append(schedule.first[number][op] % width)
            wanted = schedule.chunks[number][op]
            if wanted:
                kernels = range(starts[op], starts[op + 1])
                most = max(tenant.kernels[k].variants[variants[k]].items for k in kernels)
                wanted = 0 if min(wanted, most) == min(width, most) else min(wanted, most)
            chunks.append(wanted)
    return tuple(chunks), tuple(first)


def _one_variant(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    number, _ = _some_op(workload, rng)
    kernels = workload.tenants[number].kernels
    kernel = rng.randrange(len(kernels))
    return _with(schedule, "variants", number, {kernel: rng.randrange(len(kernels[kernel].variants))})


def _family_variant(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """All kernels of all tenants that are computed by the same functions take the same variant."""
    number, _ = _some_op(workload, rng)
    family = rng.choice(workload.tenants[number].kernels).variants
    variant = rng.randrange(len(family))
    for number, tenant in enumerate(workload.tenants):
        members = {k: variant for k, kernel in enumerate(tenant.kernels) if kernel.variants == family}
        schedule = _with(schedule, "variants", number, members)
    return schedule


def _chunks(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    number, op = _some_op(workload, rng)
    chunks = _some_chunks(schedule.lanes, rng)
    return _with(schedule, "chunks", number, dict.fromkeys(_block(schedule, number, op, rng), chunks))


def _first(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    number, op = _some_op(workload, rng)
    lane = rng.randrange(schedule.lanes)
    return _with(schedule, "first", number, dict.fromkeys(_block(schedule, number, op, rng), lane))


def _lanes(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    number, op = _some_op(workload, rng)
    where = bisect_right(schedule.pointers[number], op)
    own = schedule.clusters[where].lanes[number]
    flipped = tuple(sorted(set(own) ^ {rng.randrange(schedule.lanes)}))  # one lane more or less
    chosen = rng.choice((flipped, flipped, _some_lanes(schedule.lanes, rng))) or own
    lanes = list(schedule.clusters[where].lanes)
    lanes[number] = chosen
    return _with_cluster(schedule, where, replace(schedule.clusters[where], lanes=tuple(lanes)))


def _insert_pointer(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """Cut a cluster in two at about the same share of each tenant's work; both parts keep its decisions."""
    where = rng.randrange(len(schedule.clusters))
    share, jitter = rng.uniform(0.05, 0.95), rng.choice((0.0, 0.1, 0.5))
    rows = []
    for row, tenant in zip(schedule.pointers, workload.tenants, strict=True):
        bounds = (0, *row, len(tenant.ops))
        pointer = _cut(tenant, bounds[where], bounds[where + 1], share + rng.uniform(-jitter, jitter))
        rows.append((*row[:where], pointer, *row[where:]))
    clusters = (*schedule.clusters[: where + 1], *schedule.clusters[where:])
    return replace(schedule, pointers=tuple(rows), clusters=clusters)


def _move_pointer(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    if len(schedule.clusters) == 1:
        return schedule
    number, _ = _some_op(workload, rng)
    tenant, row = workload.tenants[number], schedule.pointers[number]
    which = rng.randrange(len(row))
    bounds = (0, *row, len(tenant.ops))
    low, here, high = bounds[which : which + 3]
    step = here + rng.choice((-1, 1))
    there = rng.choice((max(low, min(high, step)), _cut(tenant, low, high, rng.random())))
    return _with(schedule, "pointers", number, {which: there})


def _remove_pointer(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """Join two clusters; the decisions of either remain."""
    del workload
    if len(schedule.clusters) == 1:
        return schedule
    which = rng.randrange(len(schedule.clusters) - 1)
    gone = which + rng.randrange(2)
    return replace(
        schedule,
        pointers=tuple((*row[:which], *row[which + 1 :]) for row in schedule.pointers),
        clusters=(*schedule.clusters[:gone], *schedule.clusters[gone + 1 :]),
    )


def _order(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """Two tenants change places, or the issue changes between depth and breadth."""
    del workload
    where = rng.randrange(len(schedule.clusters))
    cluster = schedule.clusters[where]
    if len(cluster.order) < 2 or rng.random() < 0.3:
        return _with_cluster(schedule, where, replace(cluster, breadth=not cluster.breadth))
    order = list(cluster.order)
    i, j = rng.sample(range(len(order)), 2)
    order[i], order[j] = order[j], order[i]
    return _with_cluster(schedule, where, replace(cluster, order=tuple(order)))


_SPATIAL: tuple[Move, ...] = (_one_variant, _family_variant, _chunks, _first, _lanes, _lanes)
_TEMPORAL: tuple[Move, ...] = (_insert_pointer, _move_pointer, _move_pointer, _remove_pointer, _order)


def _some_op(workload: Workload, rng: random.Random) -> tuple[int, int]:
    number = rng.choice([t for t, tenant in enumerate(workload.tenants) if tenant.ops])
    return number, rng.randrange(len(workload.tenants[number].ops))


def _block(schedule: Schedule, number: int, op: int, rng: random.Random) -> range:
    """Mostly one op, sometimes up to eight in a row or all that follow in its cluster."""
    last = next((p for p in schedule.pointers[number] if p > op), len(schedule.first[number]))
    return range(op, min(last, op + rng.choice((1, 1, 1, rng.randint(2, 8), last))))


def _some_chunks(lanes: int, rng: random.Random) -> int:
    return rng.choice((0, 1, 2, 3, lanes, 2 * lanes))


def _some_lanes(lanes: int, rng: random.Random) -> tuple[int, ...]:
    """All lanes, one lane, or a run of neighbouring ones."""
    low = rng.randrange(lanes)
    return rng.choice((tuple(range(lanes)), (low,), tuple(range(low, rng.randint(low, lanes - 1) + 1))))


def _cut(tenant: Tenant, low: int, high: int, share: float) -> int:
    """The op of [low, high] before which about `share` of the work (flops) between the two lies."""
    work = list(accumulate((sum(k.flops for k in op.kernels) + 1 for op in tenant.ops[low:high]), initial=0))
    return low + min(range(len(work)), key=lambda i: abs(work[i] - share * work[-1]))


def _with(schedule: Schedule, field: str, number: int, values: dict[int, int]) -> Schedule:
    """The schedule with some values of one tenant's row changed."""
    rows: list[tuple[int, ...]] = list(getattr(schedule, field))
    rows[number] = tuple(values.get(i, value) for i, value in enumerate(rows[number]))
    changed: dict[str, Any] = {field: tuple(rows)}
    return replace(schedule, **changed)


def _with_cluster(schedule: Schedule, where: int, cluster: Cluster) -> Schedule:
    clusters = list(schedule.clusters)
    clusters[where] = cluster
    return replace(schedule, clusters=tuple(clusters))
