"""A step of a recurrent net in one kernel: the product of its state with weights, and what its gates make of it.

The columns of the product are `parts` blocks, one for each gate, of as many units. A work item is a block of units with
all their gates, which stay in registers until the new state follows from them. Every variant adds in one order, so all
give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense

MOST_ROWS = 16  # of the state; products of more rows are better cut along rows


@dataclass(frozen=True, slots=True)
class Gates:
    """left (m, k), operands of the program and outs (m, units), float32. outs[i] is step results[i] of the program.

    Argument `acc` number p of the program is column p * units + u of the product, for unit u.
    """

    left: Tensor
    parts: int
    outs: tuple[Tensor, ...]
    program: Program
    results: tuple[int, ...]

    @property
    def out(self) -> Tensor:
        return self.outs[-1]

    @property
    def flops(self) -> int:
        return 2 * self.left.size * self.parts * self.out.shape[1]

    def weight(self, machine: Target) -> Tensor:
        """Packed weights: (blocks of units, k, parts, units of a block), see `pack.gate_weight`."""
        return dense((ceildiv(self.out.shape[1], machine.vector), self.left.shape[1], self.parts, machine.vector))

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; outs are written."""
        return self.left, self.weight(machine), *self.program.operands, *self.outs


@dataclass(frozen=True, slots=True)
class GatesTile:
    """A register tile has up to `rows` rows of all gates of `blocks` vectors of units; an item has `wide` tiles."""

    rows: int
    blocks: int
    wide: int


def tiles(spec: Gates, tile: GatesTile, machine: Machine) -> int:
    """Tiles of units."""
    return spec.weight(machine).shape[0] // tile.blocks


def items(spec: Gates, tile: GatesTile, machine: Machine) -> int:
    return ceildiv(tiles(spec, tile, machine), tile.wide)


def candidates(spec: Gates, machine: Machine) -> list[GatesTile]:
    """Variants worth measuring, most promising first."""
    m, blocks = spec.out.shape[0], spec.weight(machine).shape[0]
    fitting = max(1, (machine.registers - spec.parts - 1) // spec.parts)
    rows = ceildiv(m, ceildiv(m, fitting))
    paired = rows == 1 and blocks % 2 == 0 and 2 * spec.parts < machine.registers - 2
    wishes = [(some, wanted) for wanted in (FEW, 2, MANY) for some in ((2, 1) if paired else (1,))]
    found = [GatesTile(rows, some, block_size(blocks // some, wanted)) for some, wanted in wishes]
    return list(dict.fromkeys(found))
