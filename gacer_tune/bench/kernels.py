"""How close each kernel of an artifact comes to what the cores could do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gacer_tune.bench.others import Usage
from gacer_tune.bench.roofline import Roofline, measuring, roofline
from gacer_tune.errors import UserError
from gacer_tune.inputs import sample
from gacer_tune.ir.plan import Slice
from gacer_tune.ir.workload import Workload

if TYPE_CHECKING:
    from gacer_tune.runtime import Module

TURNS = 9
RUNS = 3  # timed in each turn, after one that is not
# Kinds of ops that are matrix products at heart. Depthwise convolutions are not: memory bounds them.
PRODUCTS = ("conv2d", "conv_transpose", "matmul", "bmm", "attention", "winograd")


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel in the runs of the best schedule, `kernel` counting in the tenant's.

    variants  how many there are; footprint: bytes that an item of the one that ran comes back to
    seconds   of lanes, all its slices added up and what was stolen from them
    share     of what all kernels take
    computes  whether arithmetic bounds it, else memory
    fraction  of the roofline; above 1 where operands come from a cache, not from memory
    """

    tenant: str
    op: str
    kind: str
    kernel: int
    variant: int
    variants: int
    footprint: int
    slices: int
    seconds: float
    share: float
    flops: int
    nbytes: int
    computes: bool
    fraction: float

    @property
    def flops_s(self) -> float:
        """While one lane works at it."""
        return self.flops / self.seconds

    @property
    def nbytes_s(self) -> float:
        """While one lane works at it."""
        return self.nbytes / self.seconds


@dataclass(frozen=True, slots=True)
class Recorded:
    """Slices of a schedule in the order of its plan, the median seconds of each, what the cores could do, and how many
    of them other processes kept busy meanwhile."""

    slices: tuple[Slice, ...]
    seconds: list[float]
    roofline: Roofline
    others: float


def record(module: Module) -> Recorded:
    """Run the best schedule and measure the roofline in turns: the speed of cores and memory changes within minutes.

    Raises UserError for an artifact that runs on a GPU.
    """
    from gacer_tune.executor.session import Loaded

    inputs = {tenant.name: sample(tenant, 0) for tenant in module.workload.tenants}
    loaded, cycles, turns = module.loaded("best"), [], []
    if not isinstance(loaded, Loaded):
        raise UserError(f"{module.artifact.folder}: made for a GPU, kernels are timed one by one on CPU cores only")
    before = Usage.now()
    with measuring(module.session.cpus, module.artifact.precision) as turn:
        for _ in range(TURNS):
            turns.append(turn())
            module.run(inputs)
            for _ in range(RUNS):
                module.run(inputs)
                cycles.append(loaded.worked())
    seconds = np.median(cycles, axis=0) / module.artifact.manifest["cycles_per_second"]
    roof, others = roofline(turns, len(module.session.cpus)), Usage.now().others_since(before)
    return Recorded(loaded.table.slices, [float(s) for s in seconds], roof, others)


def kernel_rows(
    workload: Workload, slices: Sequence[Slice], seconds: Sequence[float], roof: Roofline
) -> tuple[KernelRow, ...]:
    """A row for each kernel that ran, longest first."""
    spent: dict[tuple[int, int], float] = {}
    pieces: dict[tuple[int, int], list[Slice]] = {}
    for piece, took in zip(slices, seconds, strict=True):
        place = (piece.tenant, piece.kernel)
        spent[place] = spent.get(place, 0.0) + took
        pieces.setdefault(place, []).append(piece)
    total = sum(spent.values())
    rows = [_row(workload, pieces[place], took, total, roof) for place, took in spent.items() if took > 0]
    return tuple(sorted(rows, key=lambda row: -row.seconds))


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op: seconds of lanes, and the wall seconds of ONNX Runtime's nodes for it times its threads."""

    tenant: str
    op: str
    kind: str
    seconds: float
    onnxruntime_s: float

    @property
    def ratio(self) -> float:
        return self.onnxruntime_s / self.seconds


def against_onnxruntime(module: Module, rows: Sequence[KernelRow], paths: Mapping[str, Path]) -> tuple[OpRow, ...]:
    """A row for each op that ONNX Runtime's profiler knows by name, longest first; as many threads as lanes.

    Raises UserError for models that do not belong to the artifact, RefusedError for one that it cannot run.
    """
    import onnx

    from gacer_tune.bench.compare import on_cpus, task_of
    from gacer_tune.bench.ort import refusing
    from gacer_tune.bench.ort_nodes import by_op, node_seconds

    task, found = task_of(module, paths, 0), []
    threads = len(task.cpus)
    for tenant in module.workload.tenants:
        content = task.models[tenant.name]
        with on_cpus(task.cpus), refusing(tenant.name):
            nodes = node_seconds(content, task.inputs[tenant.name], threads)
        theirs = by_op(onnx.load_from_string(content), [op.name for op in tenant.ops], nodes)
        for op in tenant.ops:
            ours = sum(row.seconds for row in rows if (row.tenant, row.op) == (tenant.name, op.name))
            if op.name in theirs and ours > 0:
                found.append(OpRow(tenant.name, op.name, op.kind, ours, threads * theirs[op.name]))
    return tuple(sorted(found, key=lambda row: -row.seconds))


def products_share(rows: Sequence[KernelRow], roof: Roofline) -> float:
    """Share of the sgemm roofline that matrix products and convolutions reach, by the time they take; 0 without any."""
    return _share(sum(row.flops for row in _products(rows)), rows, roof)


def products_direct(workload: Workload, rows: Sequence[KernelRow], roof: Roofline) -> float:
    """The same with the operations of their definitions: above 1 where Winograd's filtering saves more than is lost."""
    ops = {(row.tenant, row.op) for row in _products(rows)}
    flops = sum(
        op.direct or sum(kernel.flops for kernel in op.kernels)
        for tenant in workload.tenants for op in tenant.ops if (tenant.name, op.name) in ops
    )  # fmt: skip
    return _share(flops, rows, roof)


def products_fraction(rows: Sequence[KernelRow]) -> float:
    """The same of what arithmetic or memory allows each of them, whichever is less; what a cache serves faster than
    that counts as 1."""
    counted = _products(rows)
    took = sum(row.seconds for row in counted)
    return sum(min(1.0, row.fraction) * row.seconds for row in counted) / took if took else 0.0


def _share(flops: int, rows: Sequence[KernelRow], roof: Roofline) -> float:
    """Of the sgemm roofline, where products and convolutions do so many operations."""
    took = sum(row.seconds for row in _products(rows))
    return roof.lanes * flops / roof.sgemm_flops_s / took if took else 0.0


def _products(rows: Sequence[KernelRow]) -> list[KernelRow]:
    return [row for row in rows if row.kind.startswith(PRODUCTS)]


def _row(workload: Workload, pieces: Sequence[Slice], seconds: float, total: float, roof: Roofline) -> KernelRow:
    tenant, number = workload.tenants[pieces[0].tenant], pieces[0].kernel
    op, kernel = tenant.op_of[number], tenant.kernels[number]
    return KernelRow(
        tenant=tenant.name,
        op=op.name,
        kind=op.kind,
        kernel=number,
        variant=pieces[0].variant,
        variants=len(kernel.variants),
        footprint=kernel.variants[pieces[0].variant].footprint,
        slices=len(pieces),
        seconds=seconds,
        share=seconds / total,
        flops=kernel.flops,
        nbytes=kernel.nbytes,
        computes=roof.computes(kernel.flops, kernel.nbytes),
        fraction=roof.least_s(kernel.flops, kernel.nbytes) / seconds,
    )
