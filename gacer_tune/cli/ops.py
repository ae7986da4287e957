"""The ops of a tenant as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from gacer_tune.cli.output import printable, table
from gacer_tune.ir.workload import Op, Tenant
from gacer_tune.report.units import number_text

UNRULED = "default"  # kind of an op that no schedule rule knows
COPY = "copy"  # kind of one that only moves values: a transpose or reshape that no choice of layout has removed


@dataclass(frozen=True, slots=True)
class OpRow:
    """variants, items: of each kernel; items are the work items of its first variant."""

    name: str
    kind: str
    variants: tuple[int, ...]
    items: tuple[int, ...]
    flops: int
    nbytes: int
    default_schedule: bool

    @property
    def kernels(self) -> int:
        return len(self.variants)


def op_rows(tenant: Tenant) -> list[OpRow]:
    return [_row(op) for op in tenant.ops]


def ops_table(name: str, rows: Sequence[OpRow]) -> Table:
    made = table("op", "kind", "kernels", "variants", "work items", "MFLOP", "MB", title=name, texts=2)
    for row in rows:
        kind = f"{row.kind} (default schedule)" if row.default_schedule else row.kind
        figures = (_plus(row.variants), _plus(row.items), number_text(row.flops / 1e6), number_text(row.nbytes / 1e6))
        made.add_row(printable(row.name), printable(kind), str(row.kernels), *figures)
    return made


def totals(tenant: Tenant, rows: Sequence[OpRow]) -> str:
    """`det: 58 ops in 60 kernels, 3640 MFLOP, 92.1 MB moved; 1 op only copies; a rule for every op`."""
    unruled = [row.name for row in rows if row.default_schedule]
    known = f"default schedule, so slower than it could be: {', '.join(unruled)}" if unruled else "a rule for every op"
    kernels, copies = sum(row.kernels for row in rows), sum(row.kind == COPY for row in rows)
    copied = f"{copies or 'no'} {'op only copies' if copies == 1 else 'ops only copy'}"
    mflop = number_text(sum(row.flops for row in rows) / 1e6)
    moved = number_text(sum(row.nbytes for row in rows) / 1e6)
    return f"{tenant.name}: {len(rows)} ops in {kernels} kernels, {mflop} MFLOP, {moved} MB moved; {copied}; {known}"


def _row(op: Op) -> OpRow:
    return OpRow(
        name=op.name,
        kind=op.kind,
        variants=tuple(len(kernel.variants) for kernel in op.kernels),
        items=tuple(kernel.variants[0].items for kernel in op.kernels),
        flops=sum(kernel.flops for kernel in op.kernels),
        nbytes=sum(kernel.nbytes for kernel in op.kernels),
        default_schedule=op.kind == UNRULED,
    )


def _plus(numbers: Sequence[int]) -> str:
    """One number for each kernel: `4+2`."""
    return "+".join(map(str, numbers))
