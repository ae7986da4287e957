"""Keeps, of all variants that were timed, the few worth searching over (VELTAIR's versions of a layer)."""

from __future__ import annotations

from dataclasses import replace

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.workload import Kernel, Op, Tenant, Workload
from gacer_tune.kernels.tensor import ceildiv

MOST = 5
SLOWEST = 1.5  # a variant this many times slower than the best, alone and shared, is of no use in any schedule


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


def _order(kernel: Kernel, means: dict[str, tuple[float, float]], lanes: int) -> list[int]:
    """Variants to keep, best under load first."""
    points = []
    for variant in kernel.variants:
        alone, shared = means[variant.function]
        points.append((alone, shared * ceildiv(variant.items, lanes) * lanes / variant.items, -variant.items))
    best_alone, best_shared = min(p[0] for p in points), min(p[1] for p in points)
    kept = []
    for number, point in enumerate(points):
        slow = point[0] > SLOWEST * best_alone and point[1] > SLOWEST * best_shared
        beaten = any(_dominates(other, point) and other != point for other in points)
        twin = point in points[:number]
        if not (slow or beaten or twin):
            kept.append(number)
    return sorted(kept, key=lambda number: (points[number][1], points[number][0], number))[:MOST]


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
