"""Attention in one kernel: scores of a few rows at a time stay in the first cache and are never written to memory.

A work item is a block of rows of one head; the heads of a block are neighbours, so that rows stay with a lane. It packs
keys and values of the head, then for each tile of rows: products with the keys, softmax in place, products with the
values. All sums have one order, so all variants give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.rows import FLOPS
from gacer_tune.kernels.tensor import Tensor, ceildiv

VECTORS = 2  # of columns in a register tile
ROOM = 65536  # elements of scratch that an item may use


@dataclass(frozen=True, slots=True)
class Attention:
    """out = softmax(scores(query @ keys)) @ values, float32.

    query (batch..., m, d), keys (batch..., d, n), values (batch..., n, e), out (batch..., m, e), all of one rank and
    with the batch axes of out: one they lack has stride 0. The operands of scores are (batch..., m, n).
    """

    query: Tensor
    keys: Tensor
    values: Tensor
    out: Tensor
    scores: Program = NOTHING

    @property
    def extents(self) -> tuple[int, int, int, int, int]:
        """Number of heads, m, n, d, e."""
        (m, e), (d, n) = self.out.shape[-2:], self.keys.shape[-2:]
        return self.out.size // (m * e), m, n, d, e

    @property
    def flops(self) -> int:
        heads, m, n, d, e = self.extents
        return heads * m * n * (2 * (d + e) + FLOPS["softmax"])

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.query, self.keys, self.values, *self.scores.operands, self.out


@dataclass(frozen=True, slots=True)
class AttentionTile:
    """Rows of a register tile at most; tiles of an item."""

    rows: int
    high: int


def width(machine: Machine) -> int:
    """Columns of a register tile."""
    return VECTORS * machine.vector


def padded(columns: int, machine: Machine) -> int:
    """Columns in whole register tiles."""
    return ceildiv(columns, width(machine)) * width(machine)


def most_rows(m: int, machine: Machine) -> int:
    """Rows of the register tiles: what the registers hold beside a row of columns, evenly shared."""
    return ceildiv(m, ceildiv(m, (machine.registers - VECTORS - 1) // VECTORS))


def fits(keys: tuple[int, ...], values: tuple[int, ...], machine: Machine) -> bool:
    """True when packed keys (.., d, n) and values (.., n, e) of a head and a tile's scores have room in scratch."""
    (d, n), e = keys[-2:], values[-1]
    panels = d * padded(n, machine) + n * padded(e, machine)
    return panels + machine.registers // VECTORS * padded(n, machine) <= ROOM


def tiles(spec: Attention, tile: AttentionTile) -> int:
    """Tiles of rows of a head."""
    return ceildiv(spec.extents[1], tile.rows)


def items(spec: Attention, tile: AttentionTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return spec.extents[0] * ceildiv(tiles(spec, tile), tile.high)


def footprint(spec: Attention, tile: AttentionTile, machine: Machine) -> int:
    """Bytes of packed keys and values, and of the scores of a tile of rows."""
    _, _, n, d, e = spec.extents
    return 4 * ((d + tile.rows) * padded(n, machine) + n * padded(e, machine))


def candidates(spec: Attention, machine: Machine) -> list[AttentionTile]:
    """Variants worth measuring, most promising first: few blocks of a head, because each packs it again."""
    rows = most_rows(spec.extents[1], machine)
    count = ceildiv(spec.extents[1], rows)
    return list(dict.fromkeys(AttentionTile(rows, ceildiv(count, blocks)) for blocks in (2, 1, 4)))
