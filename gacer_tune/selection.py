"""Keeps, of all variants that were timed, the few worth searching over (VELTAIR's versions of a layer)."""

from __future__ import annotations

from dataclasses import replace

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.workload import Kernel, Op, Tenant, Workload
from gacer_tune.kernels.tensor import ceildiv

MOST = 5
SLOWEST = 1.5  # a variant this many times slower than the best, alone and shared, is of no use in any schedule
MARGIN = 1.25  # times of a first look may be wrong by this much

Point = tuple[float, float, int]  # seconds alone and under load, work items below zero: less is better
Chosen = tuple[tuple[tuple[int, ...], ...], ...]  # of each tenant and kernel, numbers of variants


def select(workload: Workload, profile: Profile, lanes: int) -> tuple[Workload, Profile]:
    """Return the workload with at most MOST variants a kernel, fastest under load first, and the profile to match.

    Kept are variants that no other beats alone, under load and in work items (parallelism) at once. Under load counts
    the busiest of `lanes` lanes that share the items. A function has one time wherever the kernel occurs: the mean
    over its occurrences, so that equal kernels keep equal variants.
    """
    means = _means(workload, profile)
    tenants, alone, shared = [], [], []
    for t, tenant in enumerate(workload.tenants):
        orders = [_order(kernel, means, lanes) for kernel in tenant.kernels]
        kernels = iter(
            replace(kernel, variants=tuple(kernel.variants[v] for v in order))
            for kernel, order in zip(tenant.kernels, orders, strict=True)
        )
        ops = tuple(Op(op.name, op.kind, tuple(next(kernels) for _ in op.kernels)) for op in tenant.ops)
        tenants.append(_with_ops(tenant, ops))
        alone.append(tuple(tuple(profile.alone[t][k][v] for v in order) for k, order in enumerate(orders)))
        shared.append(tuple(tuple(profile.shared[t][k][v] for v in order) for k, order in enumerate(orders)))
    return (
        Workload(tuple(tenants), workload.target),
        replace(profile, alone=tuple(alone), shared=tuple(shared)),
    )


def contenders(workload: Workload, profile: Profile, lanes: int) -> Chosen:
    """At most MOST variants of a kernel that `select` may keep once times are known better than by this first look.

    Equal kernels have equal ones.
    """
    means = _means(workload, profile)
    return tuple(
        tuple(tuple(_order(kernel, means, lanes, MARGIN)) for kernel in tenant.kernels) for tenant in workload.tenants
    )


def _with_ops(tenant: Tenant, ops: tuple[Op, ...]) -> Tenant:
    return Tenant(
        tenant.name, tenant.model, tenant.buffers, ops, tenant.inputs, tenant.outputs,
        tenant.batch, tenant.weight, tenant.slo_s,
    )  # fmt: skip


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
        points.append((alone, shared * ceildiv(variant.items, lanes) * lanes / variant.items, -variant.items))
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
    return one[0] * margin <= other[0] and one[1] * margin <= other[1] and one[2] <= other[2]
