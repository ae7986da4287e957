"""Keeps, of all variants that were timed, the few worth searching over (VELTAIR's versions of a layer)."""

from __future__ import annotations

from dataclasses import replace

from gacer_tune.cost_model.profile import Profile, Rows
from gacer_tune.ir.workload import Kernel, Workload
from gacer_tune.kernels.tensor import ceildiv

MOST = 5
SLOWEST = 1.5  # a variant this many times slower than the best, alone and shared, is of no use in any schedule
MARGIN = 1.25  # times of a first look may be wrong by this much

# Seconds alone and under load, work items below zero, footprint of an item in powers of two: less is better.
Point = tuple[float, float, int, int]
Chosen = tuple[tuple[tuple[int, ...], ...], ...]  # of each tenant and kernel, numbers of variants


def select(workload: Workload, profile: Profile, lanes: int) -> tuple[Workload, Profile]:
    """Return the workload with at most MOST variants a kernel, fastest under load first, and the profile to match.

    Kept are variants that no other beats alone, under load, in work items (parallelism) and in what an item needs of
    a core's cache (footprint) at once. Under load counts the busiest of `lanes` lanes that share the items. A function
    has one time wherever the kernel occurs: the mean over its occurrences, so that equal kernels keep equal variants.
    """
    means = _means(workload, profile)
    chosen = tuple(tuple(tuple(_order(k, means, lanes)) for k in tenant.kernels) for tenant in workload.tenants)
    alone, shared = (_chosen_times(rows, chosen) for rows in (profile.alone, profile.shared))
    return _with_variants(workload, chosen), replace(profile, alone=alone, shared=shared)


def adopted(workload: Workload, selected: Workload, profile: Profile) -> tuple[Workload, Profile] | None:
    """The workload with the variants that were selected elsewhere for the same kernels, and their times.

    Names of functions and times are all that is taken over, buffers and work items are those of the workload itself.
    None unless models, kernels and functions are the same.
    """
    if [tenant.model for tenant in workload.tenants] != [tenant.model for tenant in selected.tenants]:
        return None
    pairs = [(one.kernels, other.kernels) for one, other in zip(workload.tenants, selected.tenants, strict=True)]
    if any(len(ours) != len(theirs) for ours, theirs in pairs):
        return None
    try:
        chosen = tuple(
            tuple(_places(kernel, other) for kernel, other in zip(ours, theirs, strict=True)) for ours, theirs in pairs
        )
    except ValueError:  # a function that is not among ours
        return None
    return _with_variants(workload, chosen), profile


def _places(kernel: Kernel, selected: Kernel) -> tuple[int, ...]:
    names = [variant.function for variant in kernel.variants]
    return tuple(names.index(variant.function) for variant in selected.variants)


def _with_variants(workload: Workload, chosen: Chosen) -> Workload:
    tenants = []
    for tenant, orders in zip(workload.tenants, chosen, strict=True):
        kernels = iter(
            replace(kernel, variants=tuple(kernel.variants[v] for v in order))
            for kernel, order in zip(tenant.kernels, orders, strict=True)
        )
        ops = tuple(replace(op, kernels=tuple(next(kernels) for _ in op.kernels)) for op in tenant.ops)
        tenants.append(replace(tenant, ops=ops))
    return Workload(tuple(tenants), workload.target)


def _chosen_times(times: Rows, chosen: Chosen) -> Rows:
    return tuple(
        tuple(tuple(row[v] for v in order) for row, order in zip(rows, orders, strict=True))
        for rows, orders in zip(times, chosen, strict=True)
    )


def contenders(workload: Workload, profile: Profile, lanes: int) -> Chosen:
    """At most MOST variants of a kernel that `select` may keep once times are known better than by this first look.

    Equal kernels have equal ones.
    """
    means = _means(workload, profile)
    return tuple(
        tuple(tuple(_order(kernel, means, lanes, MARGIN)) for kernel in tenant.kernels) for tenant in workload.tenants
    )


def _means(workload: Workload, profile: Profile) -> dict[str, tuple[float, float]]:
    """(alone, shared) seconds of each function."""
    sums: dict[str, list[tuple[float, float]]] = {}
    for t, tenant in enumerate(workload.tenants):
        for k, kernel in enumerate(tenant.kernels):
            for v, variant in enumerate(kernel.variants):
                sums.setdefault(variant.function, []).append((profile.alone[t][k][v], profile.shared[t][k][v]))
    return {
        name: (sum(a for a, _ in rows) / len(rows), sum(s for _, s in rows) / len(rows)) for name, rows in sums.items()
    }


def _order(kernel: Kernel, means: dict[str, tuple[float, float]], lanes: int, margin: float = 1.0) -> list[int]:
    """Variants to keep, best under load first; with a margin only what is worse by more than that is dropped."""
    points = _points(kernel, means, lanes)
    return sorted(_kept(points, margin), key=lambda number: (points[number][1], points[number][0], number))[:MOST]


def _points(kernel: Kernel, means: dict[str, tuple[float, float]], lanes: int) -> list[Point]:
    points = []
    for variant in kernel.variants:
        alone, shared = means[variant.function]
        busiest = shared * ceildiv(variant.items, lanes) * lanes / variant.items
        points.append((alone, busiest, -variant.items, variant.footprint.bit_length()))
    return points


def _kept(points: list[Point], margin: float) -> list[int]:
    """Those that are neither slow nor beaten."""
    slow = [SLOWEST * margin * min(point[axis] for point in points) for axis in (0, 1)]
    found = []
    for number, point in enumerate(points):
        beaten = any(_dominates(other, point, margin) and other != point for other in points)
        twin = point in points[:number]
        if not (beaten or twin or (point[0] > slow[0] and point[1] > slow[1])):
            found.append(number)
    return found


def _dominates(one: Point, other: Point, margin: float) -> bool:
    margins = (margin, margin, 1, 1)
    return all(mine * by <= theirs for mine, by, theirs in zip(one, margins, other, strict=True))
