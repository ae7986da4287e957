"""How much of the machine each op of an artifact can use, and for how long: GACER's W and T of an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from gacer_tune.artifact import Artifact
from gacer_tune.cli.output import printable, table
from gacer_tune.cost_model.profile import Demand, demand
from gacer_tune.ir.workload import Tenant
from gacer_tune.report.units import seconds_text

PARTS = (0.25, 0.5, 1.0)  # of the work items, in the table


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel with the variant of the best schedule. demands[i]: share of the lanes that items[i] of its work items
    can occupy, and for how long; items grow from 1 by doubling up to all of them."""

    tenant: str
    op: str
    kind: str
    kernel: int
    items: tuple[int, ...]
    demands: tuple[Demand, ...]


def demand_rows(artifact: Artifact) -> Iterator[Row]:
    schedule = artifact.schedules["best"]
    for number, tenant in enumerate(artifact.workload.tenants):
        yield from _rows(tenant, artifact.profile.alone[number], schedule.variants[number], schedule.lanes)


def _rows(tenant: Tenant, alone: tuple[tuple[float, ...], ...], variants: tuple[int, ...], lanes: int) -> Iterator[Row]:
    for number, (op, kernel) in enumerate(zip(tenant.op_of, tenant.kernels, strict=True)):
        variant = variants[number]
        total, seconds = kernel.variants[variant].items, alone[number][variant]
        items = items_of(total)
        demands = tuple(demand(seconds, total, count, lanes) for count in items)
        yield Row(tenant.name, op.name, op.kind, number, items, demands)


def items_of(total: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `total` itself: 6 -> 1, 2, 4, 6."""
    doubled = [1 << power for power in range(total.bit_length()) if 1 << power < total]
    return (*doubled, total)


def demand_table(rows: list[Row], lanes: int) -> Table:
    """W and T of a quarter, a half and all of the work items, or of as many as come next in the row."""
    heads = [head for part in PARTS for head in (f"W {part:.0%}", f"T {part:.0%}")]
    title = f"share W of {lanes} lanes that a part of an op can use, and its time T"
    made = table("op", "kind", "items", *heads, title=title, texts=2)
    for row in rows:
        total, cells = row.items[-1], []
        for part in PARTS:
            place = next(i for i, items in enumerate(row.items) if items >= part * total)
            share, seconds = row.demands[place]
            cells += [f"{share:.0%}", seconds_text(seconds)]
        made.add_row(printable(f"{row.tenant}/{row.op}"), printable(row.kind), str(total), *cells)
    return made
