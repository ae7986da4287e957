"""Legality of a schedule. Every rule that `lower` relies on is checked here and nowhere else."""

from __future__ import annotations

from gacer_tune.ir.schedule import PARTS, PRIORITIES, Cluster, Schedule
from gacer_tune.ir.workload import Tenant, Workload


class IllegalScheduleError(ValueError):
    """The schedule does not fit the workload. The message says what was given, what is allowed and where."""


def verify(workload: Workload, schedule: Schedule) -> None:
    """Raise IllegalScheduleError for the first decision that cannot be carried out; return when there is none."""
    count = len(workload.tenants)
    if schedule.lanes < 1:
        raise IllegalScheduleError(f"lanes: {schedule.lanes}, at least 1")
    for field in ("pointers", "chunks", "first", "variants"):
        rows = len(getattr(schedule, field))
        if rows != count:
            raise IllegalScheduleError(f"{field}: {rows} rows, the workload has {count} tenants")
    _verify_streams(workload, schedule)
    for number, cluster in enumerate(schedule.clusters):
        _verify_cluster(schedule, cluster, f"cluster {number}", count)
    for number, tenant in enumerate(workload.tenants):
        _verify_pointers(schedule, tenant, schedule.pointers[number])
        _verify_ops(tenant, schedule.chunks[number], schedule.first[number])
        _verify_variants(tenant, schedule.variants[number])
        _verify_chunks(tenant, schedule.chunks[number], schedule.variants[number])


def _verify_streams(workload: Workload, schedule: Schedule) -> None:
    for field, name, most in (("priorities", "priority", PRIORITIES - 1), ("shares", "share", PARTS)):
        row: tuple[int, ...] = getattr(schedule, field)
        if row and workload.target != "cuda":
            raise IllegalScheduleError(f"{field}: for target cuda only, lanes of target {workload.target} have none")
        if len(row) > schedule.lanes:
            raise IllegalScheduleError(f"{field}: {len(row)}, there are {schedule.lanes} lanes")
        for lane, value in enumerate(row):
            if not 0 <= value <= most:
                raise IllegalScheduleError(f"lane {lane}: {name} {value}, allowed are 0 to {most}")
    if schedule.steal and workload.target != "cpu":
        raise IllegalScheduleError(f"steal: for target cpu only, lanes of target {workload.target} take what is theirs")
    if sum(schedule.shares) > PARTS:
        raise IllegalScheduleError(f"shares: {sum(schedule.shares)} parts in all, the GPU has {PARTS}")


def _verify_cluster(schedule: Schedule, cluster: Cluster, where: str, tenants: int) -> None:
    if sorted(cluster.order) != list(range(tenants)):
        raise IllegalScheduleError(f"{where}: order {list(cluster.order)}, each of the {tenants} tenants once")
    if len(cluster.lanes) != tenants:
        raise IllegalScheduleError(f"{where}: lanes for {len(cluster.lanes)} tenants, the workload has {tenants}")
    for number, lanes in enumerate(cluster.lanes):
        if not lanes:
            raise IllegalScheduleError(f"{where}: tenant {number} has no lane, at least one")
        for lane in lanes:
            if not 0 <= lane < schedule.lanes:
                raise IllegalScheduleError(
                    f"{where}: tenant {number} on lane {lane}, lanes are 0 to {schedule.lanes - 1}"
                )
        if len(set(lanes)) != len(lanes):
            raise IllegalScheduleError(f"{where}: tenant {number} on lanes {list(lanes)}, each at most once")


def _verify_pointers(schedule: Schedule, tenant: Tenant, pointers: tuple[int, ...]) -> None:
    if len(pointers) != len(schedule.clusters) - 1:
        raise IllegalScheduleError(f"{tenant.name}: {len(pointers)} pointers for {len(schedule.clusters)} clusters")
    low = 0
    for pointer in pointers:
        if not low <= pointer <= len(tenant.ops):
            raise IllegalScheduleError(f"{tenant.name}: pointer at {pointer}, allowed are {low} to {len(tenant.ops)}")
        low = pointer


def _verify_ops(tenant: Tenant, chunks: tuple[int, ...], first: tuple[int, ...]) -> None:
    for field, row in (("chunks", chunks), ("first", first)):
        if len(row) != len(tenant.ops):
            raise IllegalScheduleError(f"{tenant.name}: {field} for {len(row)} ops, it has {len(tenant.ops)}")
        for op, value in zip(tenant.ops, row, strict=True):
            if value < 0:
                raise IllegalScheduleError(f"{tenant.name}.{op.name}: {field} {value}, at least 0")


def _verify_variants(tenant: Tenant, variants: tuple[int, ...]) -> None:
    if len(variants) != len(tenant.kernels):
        raise IllegalScheduleError(f"{tenant.name}: variants for {len(variants)} kernels, it has {len(tenant.kernels)}")
    for op, start in zip(tenant.ops, tenant.first_kernel, strict=False):
        for kernel, variant in zip(op.kernels, variants[start:], strict=False):
            if not 0 <= variant < len(kernel.variants):
                last = len(kernel.variants) - 1
                raise IllegalScheduleError(f"{tenant.name}.{op.name}: variant {variant}, allowed are 0 to {last}")


def _verify_chunks(tenant: Tenant, chunks: tuple[int, ...], variants: tuple[int, ...]) -> None:
    for op, start, wanted in zip(tenant.ops, tenant.first_kernel, chunks, strict=False):
        most = max(k.variants[variants[start + i]].items for i, k in enumerate(op.kernels))
        if wanted > most:
            raise IllegalScheduleError(f"{tenant.name}.{op.name}: {wanted} chunks, at most {most}")
