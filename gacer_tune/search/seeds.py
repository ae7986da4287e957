"""Schedules made by reasoning: the baselines that a result must beat, and good places to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from gacer_tune.cost_model.profile import Profile, best_variant, spread_s
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import normal
from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective, ObjectiveName
from gacer_tune.search.streams import STREAM_BASELINES

_BASELINES = {"sequential": sequential, "lane_per_tenant": lane_per_tenant, "breadth_first": breadth_first}
BASELINES: tuple[str, ...] = tuple(_BASELINES)
_PARTS = (1.0, 0.75, 0.5)


def baselines(workload: Workload, profile: Profile, lanes: int) -> dict[str, Schedule]:
    """The baselines by name, each with the variants that are best for the lanes that its kernels are cut over."""
    if workload.target == "cuda":
        return _on_streams(workload, profile, lanes)
    return {name: _best(workload, profile, make(workload, lanes)) for name, make in _BASELINES.items()}


def _on_streams(workload: Workload, profile: Profile, lanes: int) -> dict[str, Schedule]:
    """On a GPU; what has it alone takes the variants that are best alone."""
    alone = replace(profile, shared=profile.alone)
    return {
        name: _best(workload, alone if name == "sequential" else profile, make(workload, lanes))
        for name, make in STREAM_BASELINES.items()
    }


def objective_of(name: ObjectiveName, workload: Workload, profile: Profile, lanes: int) -> Objective:
    """The objective of this name; what a tenant takes alone is simulated, so that it is one number for a whole run."""
    return Objective(workload, name, alone_s(workload, profile, lanes) if name == "fairness" else ())


def alone_s(workload: Workload, profile: Profile, lanes: int) -> tuple[float, ...]:
    """Seconds that each tenant would take alone on all lanes."""
    found = []
    for number, tenant in enumerate(workload.tenants):
        only = Workload((tenant,), workload.target)
        row = replace(profile, alone=(profile.alone[number],), shared=(profile.shared[number],))
        plan = lower(only, baselines(only, row, lanes)["sequential"])
        found.append(simulate(only, plan, row).makespan_s)
    return tuple(found)


def seeds(workload: Workload, profile: Profile, lanes: int) -> tuple[Schedule, ...]:
    """List schedules, and mixes of "each on lanes of its own" with "all lanes for each" cut where lanes are level."""
    if lanes == 1 or not any(tenant.ops for tenant in workload.tenants):
        return ()
    if workload.target == "cuda":
        alone = replace(profile, shared=profile.alone)
        whole = [make(workload, lanes) for make in STREAM_BASELINES.values()]
        return (*(_best(workload, alone, schedule) for schedule in whole), list_schedule(workload, profile, lanes))
    apart = dict.fromkeys((shares(_totals(workload, profile), lanes), useful_shares(workload, profile, lanes)))
    cuts = [(part, last) for part in _PARTS for last in (True, False)]
    mixes = [_apart_and_together(workload, profile, own, lanes, cut) for own in apart for cut in cuts]
    return (*mixes, list_schedule(workload, profile, lanes))


def shares(totals_s: Sequence[float], lanes: int) -> tuple[tuple[int, ...], ...]:
    """Lanes for each tenant so that all are done at about the same time, by the tenants' seconds.

    With more tenants than lanes the longest goes first to the emptiest lane, (5, 4, 3) on 2 -> (0,), (1,), (1,);
    else each lane goes to the tenant that would end last, (4, 1) on 3 -> (0, 1), (2,).
    """
    order = sorted(range(len(totals_s)), key=lambda t: -totals_s[t])
    if len(totals_s) >= lanes:
        loads, lane_of = [0.0] * lanes, [0] * len(totals_s)
        for tenant in order:
            lane_of[tenant] = loads.index(min(loads))
            loads[lane_of[tenant]] += totals_s[tenant]
        return tuple((lane,) for lane in lane_of)
    counts = [1] * len(totals_s)
    for _ in range(lanes - len(totals_s)):
        last = max(order, key=lambda t: totals_s[t] / counts[t])
        counts[last] += 1
    return _rows_of(counts)


def useful_shares(workload: Workload, profile: Profile, lanes: int) -> tuple[tuple[int, ...], ...]:
    """The same by what each tenant really takes on so many lanes: ops of few work items have no use for many.

    Each lane goes to the tenant that would end last among those that more lanes still help.
    """

    def seconds(tenant: int, count: int) -> float:
        return sum(_op_s(workload, profile, (tenant, op), count) for op in range(len(workload.tenants[tenant].ops)))

    number = len(workload.tenants)
    if number >= lanes:
        return shares(_totals(workload, profile), lanes)
    counts, times = [1] * number, [seconds(t, 1) for t in range(number)]
    least = [seconds(t, lanes) for t in range(number)]
    for _ in range(lanes - number):
        helped = [t for t in range(number) if times[t] > least[t]] or range(number)
        last = max(helped, key=lambda t: times[t])
        counts[last] += 1
        times[last] = seconds(last, counts[last])
    return _rows_of(counts)


def _rows_of(counts: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """(2, 1) -> (0, 1), (2,)"""
    ends = list(accumulate(counts))
    return tuple(tuple(range(end - count, end)) for end, count in zip(ends, counts, strict=True))


def list_schedule(workload: Workload, profile: Profile, lanes: int) -> Schedule:
    """No op is cut; each goes to the lane where it ends first, the tenants taking turns, the longest first."""
    totals = _totals(workload, profile)
    order = tuple(sorted(range(len(totals)), key=lambda t: -totals[t]))
    everywhere = tuple(tuple(range(lanes)) for _ in totals)
    free, first = [0.0] * lanes, [[0] * len(tenant.ops) for tenant in workload.tenants]
    ends: list[list[float]] = [[] for _ in totals]  # of each kernel
    for op in range(max(len(tenant.ops) for tenant in workload.tenants)):
        for number in order:
            tenant = workload.tenants[number]
            if op >= len(tenant.ops):
                continue
            kernels = range(tenant.first_kernel[op], tenant.first_kernel[op + 1])
            parents = {p for kernel in kernels for p in tenant.depends[kernel] if p < kernels.start}
            ready = max((ends[number][p] for p in parents), default=0.0)
            lane = min(range(lanes), key=lambda lane: max(free[lane], ready))
            free[lane] = max(free[lane], ready) + _op_s(workload, profile, (number, op), 1)
            first[number][op] = lane
            ends[number] += [free[lane]] * len(kernels)
    schedule = replace(
        breadth_first(workload, lanes),
        clusters=(Cluster(everywhere, order, breadth=True),),
        chunks=tuple((1,) * len(tenant.ops) for tenant in workload.tenants),
        first=tuple(map(tuple, first)),
    )
    return _best(workload, profile, schedule)


def _apart_and_together(
    workload: Workload, profile: Profile, own: tuple[tuple[int, ...], ...], lanes: int, cut: tuple[float, bool]
) -> Schedule:
    """Two clusters, one in which the tenants keep to their own lanes and one in which each has all of them.

    `cut` = (part, last): the first cluster lasts for `part` of the least loaded lane's time, when the second, shared
    one comes last; mirrored when it comes first.
    """
    part, last = cut
    times = [
        [_op_s(workload, profile, (t, op), len(own[t])) for op in range(len(tenant.ops))]
        for t, tenant in enumerate(workload.tenants)
    ]
    loads: dict[tuple[int, ...], float] = {}
    for row, seconds in zip(own, times, strict=True):
        loads[row] = loads.get(row, 0.0) + sum(seconds)
    horizon, used = part * min(loads.values()), dict.fromkeys(loads, 0.0)
    pointers = []
    for row, seconds in zip(own, times, strict=True):
        ends = list(accumulate(seconds if last else seconds[::-1], initial=used[row]))
        count = min(range(len(ends)), key=lambda i: abs(ends[i] - horizon))
        used[row] = ends[count]
        pointers.append((count if last else len(seconds) - count,))
    order = tuple(sorted(range(len(own)), key=lambda t: -sum(times[t])))
    apart, together = Cluster(own, order), Cluster(tuple(tuple(range(lanes)) for _ in own), order)
    clusters = (apart, together) if last else (together, apart)
    return _best(workload, profile, replace(sequential(workload, lanes), pointers=tuple(pointers), clusters=clusters))


def _best(workload: Workload, profile: Profile, schedule: Schedule) -> Schedule:
    """The schedule with the best variant of each kernel for the number of slices that its op is cut into."""
    rows = []
    for number, tenant in enumerate(workload.tenants):
        row: list[int] = []
        for op, chunks in enumerate(schedule.chunks[number]):
            where = sum(pointer <= op for pointer in schedule.pointers[number])
            width = len(schedule.clusters[where].lanes[number])
            slices = min(chunks, width) or width
            kernels = range(tenant.first_kernel[op], tenant.first_kernel[op + 1])
            row += [best_variant(workload, profile, number, kernel, slices) for kernel in kernels]
        rows.append(tuple(row))
    return normal(workload, replace(schedule, variants=tuple(rows)))


def _op_s(workload: Workload, profile: Profile, where: tuple[int, int], lanes: int) -> float:
    """Seconds of (tenant, op) cut over `lanes` lanes with the best variants."""
    number, op = where
    starts, seconds = workload.tenants[number].first_kernel, 0.0
    for kernel in range(starts[op], starts[op + 1]):
        variant = best_variant(workload, profile, number, kernel, lanes)
        seconds += spread_s(workload, profile, (number, kernel, variant), lanes)
    return seconds


def _totals(workload: Workload, profile: Profile) -> list[float]:
    """Seconds of each tenant on one lane."""
    return [
        sum(_op_s(workload, profile, (number, op), 1) for op in range(len(tenant.ops)))
        for number, tenant in enumerate(workload.tenants)
    ]
