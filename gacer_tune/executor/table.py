"""A plan as the tables of integers that the interpreter walks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.workload import Kernel, Variant, Workload

ENTRY = "run_lanes"  # the interpreter's function; another name when its parameters change
ROW = 7  # function, lo, hi, first operand, first wait, end of waits, least items that are stolen (0: none are)
GRAIN = 6
STATE = 16  # words of what a lane shares with thieves: no shared cache line, nor a pair that is fetched together
THEFT = 3  # of what was stolen: row, begin, end
GRAIN_FLOPS, GRAIN_NBYTES = 1.6e6, 2.4e5  # the least that is taken at once: about 20 us of a core
COUNTER_STRIDE = (
    16  # counters of two lanes lie 128 bytes apart: no shared cache line, nor a pair that is fetched together
)
UNDIVIDED = frozenset({"conv2d_inverted"})  # items of a call hand results on: each cut computes some of them again

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
            divisible = plan.steal and tenant.op_of[piece.kernel].kind not in UNDIVIDED
            steal = grain(kernel, variant, piece.hi - piece.lo) if divisible else 0
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


def grain(kernel: Kernel, variant: Variant, items: int) -> int:
    """The least number of items to take at once of a slice that has so many; 0 where it is too short for thieves."""
    worth = kernel.flops / GRAIN_FLOPS + kernel.nbytes / GRAIN_NBYTES
    least = ceil(variant.items / worth) if worth else items
    return least if items >= 2 * least else 0
