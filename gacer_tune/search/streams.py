"""Baselines on a GPU, where lanes are streams: kernels stay whole, for one of them may fill the GPU by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, sequential
from gacer_tune.ir.workload import Tenant, Workload


def one_stream(workload: Workload, lanes: int) -> Schedule:
    """Tenants one after the other, each kernel with the whole GPU: a CUDA graph of the sequential order."""
    base = sequential(workload, lanes)
    everything = Cluster(tuple((0,) for _ in workload.tenants), base.clusters[0].order)
    return replace(base, clusters=(everything,))


def stream_per_tenant(workload: Workload, lanes: int) -> Schedule:
    """Tenant t alone on stream t (mod the lanes)."""
    base = sequential(workload, lanes)
    apart = Cluster(tuple((t % lanes,) for t in range(len(workload.tenants))), base.clusters[0].order)
    return replace(base, clusters=(apart,))


def branch_streams(workload: Workload, lanes: int) -> Schedule:
    """Breadth-first over all streams: an op goes on where what it reads was made last; further branches fan out."""
    base = breadth_first(workload, lanes)
    used = 0
    rows = []
    for tenant in workload.tenants:
        row, used = _branches(tenant, lanes, used)
        rows.append(row)
    whole = tuple((1,) * len(tenant.ops) for tenant in workload.tenants)
    return replace(base, chunks=whole, first=tuple(rows))


def _branches(tenant: Tenant, lanes: int, used: int) -> tuple[tuple[int, ...], int]:
    """Lane of each op, and how many lanes have been handed out so far."""
    op_of = [op for op, (a, b) in enumerate(_spans(tenant)) for _ in range(a, b)]
    row: list[int] = []
    continued: set[int] = set()
    for op, (first, last) in enumerate(_spans(tenant)):
        parents = {op_of[p] for kernel in range(first, last) for p in tenant.depends[kernel]} - {op}
        free = [parent for parent in sorted(parents, reverse=True) if parent not in continued]
        if free:
            continued.add(free[0])
            row.append(row[free[0]])
        else:
            row.append(used % lanes)
            used += 1
    return tuple(row), used


def _spans(tenant: Tenant) -> list[tuple[int, int]]:
    """First kernel of each op, and the one behind its last."""
    return list(zip(tenant.first_kernel, tenant.first_kernel[1:], strict=False))


STREAM_BASELINES: dict[str, Callable[[Workload, int], Schedule]] = {
    "sequential": one_stream,
    "lane_per_tenant": stream_per_tenant,
    "breadth_first": branch_streams,
}
