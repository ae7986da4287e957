"""A plan as the tables of integers that the interpreter walks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.stealing import grain_of
from gacer_tune.ir.workload import Workload

ENTRY = "run_lanes"  # the interpreter's function; another name when its parameters change
ROW = 7  # function, lo, hi, first operand, first wait, end of waits, least items that are stolen (0: none are)
GRAIN = 6
STATE = 16  # words of what a lane shares with thieves: no shared cache line, nor a pair that is fetched together
THEFT = 3  # of what was stolen: row, begin, end
COUNTER_STRIDE = (
    16  # counters of two lanes lie 128 bytes apart: no shared cache line, nor a pair that is fetched together
)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Table:
    """rows[starts[l] : starts[l + 1]] are lane l's; slices are in the same order as the rows."""

    rows: Ints  # (rows, ROW)
    operands: Ints  # byte offsets in memory
    waits: Ints  # (waits, 2): lane, count
    starts: Ints  # (lanes + 1,)
    slices: tuple[Slice, ...]

    @property
    def steal(self) -> bool:
        """Whether there is anything to steal."""
        return bool(self.rows[:, GRAIN].any())

    @property
    def lanes(self) -> int:
        return len(self.starts) - 1


def tabulate(workload: Workload, plan: Plan, functions: Mapping[str, int]) -> Table:
    """Return the tables of a plan; `functions` gives the position of each function in the module.

    Raises KeyError naming a function that the module does not have.
    """
    operands: list[int] = []
    places: dict[tuple[int, int], int] = {}
    for t, tenant in enumerate(workload.tenants):
        for k, kernel in enumerate(tenant.kernels):
            places[t, k] = len(operands)
            operands += [plan.memory.offsets[t][o.buffer] + o.offset for o in kernel.operands]
    rows: list[tuple[int, ...]] = []
    waits: list[tuple[int, int]] = []
    starts = [0]
    for lane in plan.lanes:
        for piece in lane:
            tenant = workload.tenants[piece.tenant]
            kernel = tenant.kernels[piece.kernel]
            variant = kernel.variants[piece.variant]
            first = len(waits)
            waits += [(wait.lane, wait.count) for wait in piece.waits]
            steal = grain_of(workload, piece) if plan.steal else 0
            place = places[piece.tenant, piece.kernel]
            rows.append((functions[variant.function], piece.lo, piece.hi, place, first, len(waits), steal))
        starts.append(len(rows))
    return Table(
        rows=np.array(rows, np.int64).reshape(-1, ROW),
        operands=np.array(operands, np.int64),
        waits=np.array(waits, np.int64).reshape(-1, 2),
        starts=np.array(starts, np.int64),
        slices=tuple(plan.slices()),
    )
