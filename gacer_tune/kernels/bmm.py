"""Products of matrices: of two that are computed (attention, feature interaction), or of one with constant weights.

A work item is a block of rows and columns of one product. Its register tiles keep `rows` x `vectors` accumulators over
the whole reduction, in order, so that every variant gives the same bits. Tiles of rows differ by one row at most, so
that none is left with a few rows only. Weights are packed beforehand; another right matrix is read where it is, or the
columns a tile needs are first packed, side by side, into scratch: necessary where they are not neighbours in memory
(a transposed key matrix), worth it where rows of the right matrix lie far apart. A product with one column, of rows
whose elements are neighbours, has its rows folded (emit.fold) instead: vectors run along the reduction.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv

OVERHEAD = 40.0  # cycles that a register tile takes beside its multiply-adds
TALL = 256  # rows from which more of the left matrix is read for every tile of columns than there are weights
WIDE = 4  # vectors of the tile that reads it half as often as one of two


@dataclass(frozen=True, slots=True)
class BatchMatmul:
    """left (batch..., m, k), right (batch..., k, n), out (batch..., m, n), float32, all of one rank.

    left and right have the batch axes of out: one they lack has stride 0. constant: right is the same for all
    products, packed as (blocks of columns, k, machine.pack), see pack.conv_weight.
    """

    left: Tensor
    right: Tensor
    out: Tensor
    program: Program = NOTHING
    constant: bool = False

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Number of products, m, n, k."""
        m, n = self.out.shape[-2:]
        return self.out.size // (m * n), m, n, self.left.shape[-1]

    @property
    def folded(self) -> bool:
        """Whether vectors run along the reduction."""
        return self.out.shape[-1] == 1 and self.left.strides[-1] == 1 and not self.constant

    @property
    def flops(self) -> int:
        batch, m, n, k = self.extents
        return 2 * batch * m * n * k

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.left, self.right, *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class BmmTile:
    """Up to `rows` x vectors accumulators; an item has `high` tiles of rows and `wide` tiles of columns."""

    vectors: int
    rows: int
    high: int
    wide: int
    packed: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers of column tiles (the last one may be smaller), of row tiles, of blocks of each, and of items."""

    wide: int
    high: int
    column_blocks: int
    row_blocks: int
    items: int


def grid(spec: BatchMatmul, tile: BmmTile, machine: Machine) -> Grid:
    batch, m, n, _ = spec.extents
    wide, high = ceildiv(n, tile.vectors * machine.vector), ceildiv(m, tile.rows)
    column_blocks, row_blocks = ceildiv(wide, tile.wide), ceildiv(high, tile.high)
    return Grid(wide, high, column_blocks, row_blocks, batch * column_blocks * row_blocks)


def items(spec: BatchMatmul, tile: BmmTile, machine: Machine) -> int:
    return grid(spec, tile, machine).items


def footprint(spec: BatchMatmul, tile: BmmTile, machine: Machine) -> int:
    """Bytes: a column tile for the next rows, the rows for the next column tile."""
    _, m, _, k = spec.extents
    rows = tile.rows * (tile.high if tile.wide > 1 else 1)
    return 4 * k * (tile.vectors * machine.vector + min(rows, m))


def cycles(spec: BatchMatmul, vectors: int, rows: int, machine: Machine) -> float:
    """Cycles per reduction step of one product: two multiply-adds or loads a cycle, a latency of four."""
    _, m, n, k = spec.extents

    def tile(high: int, wide: int) -> float:
        return max(wide * high / 2, (wide + high) / 2, 4.0) + OVERHEAD / k

    def row(wide: int) -> float:
        tiles = ceildiv(m, rows)
        least, larger = divmod(m, tiles)
        return larger * tile(least + 1, wide) + (tiles - larger) * tile(least, wide)

    full, rest = divmod(n, vectors * machine.vector)
    return full * row(vectors) + (row(ceildiv(rest, machine.vector)) if rest else 0.0)


def register_tiles(spec: BatchMatmul, machine: Machine, most: int = 2) -> list[tuple[int, int]]:
    """The (vectors, rows) pairs with the fewest modelled cycles that fit the registers, best first."""
    _, m, n, _ = spec.extents
    depths = [1] if n <= machine.vector else [2] if m > 2 else [2, 4, 8]
    found = set()
    for vectors in depths:
        if vectors > 2 and n < vectors * machine.vector:
            continue
        for fitting in range(1, max(1, min((machine.registers - vectors - 1) // vectors, m)) + 1):
            rows = ceildiv(m, ceildiv(m, fitting))
            found.add((cycles(spec, vectors, rows, machine), -rows * vectors, vectors, rows))
    best = min(found)[0]
    return [(vectors, rows) for cost, _, vectors, rows in sorted(found) if cost <= 1.3 * best][:most]


def wide_tiles(spec: BatchMatmul, machine: Machine) -> list[tuple[int, int]]:
    """The (vectors, rows) pair that loads least for each multiply-add, for many rows where registers have room."""
    _, m, n, _ = spec.extents
    fitting = (machine.registers - WIDE - 1) // WIDE
    if m < TALL or n < WIDE * machine.vector or fitting < WIDE:
        return []
    return [(WIDE, ceildiv(m, ceildiv(m, fitting)))]


def candidates(spec: BatchMatmul, machine: Machine) -> list[BmmTile]:
    """Variants worth measuring, most promising first."""
    pairs = register_tiles(spec, machine)
    if spec.constant:
        wishes = [(pair, FEW, down) for pair in wide_tiles(spec, machine) for down in (2, FEW // 2)]
        wishes += [(pairs[0], wanted, down) for wanted, down in ((FEW, 2), (MANY, 2), (FEW, FEW))]
        wishes += [(pair, FEW, 2) for pair in pairs[1:]]
        return list(dict.fromkeys(_weighted(spec, machine, *wish) for wish in wishes))
    if spec.folded:
        return list(dict.fromkeys(_blocked(spec, machine, pairs[0], wanted, False) for wanted in (FEW, MANY)))
    _, m, n, _ = spec.extents
    far = spec.right.strides[-2] > 2 * n
    packing = [True] if spec.right.strides[-1] != 1 else [True, False] if far and m > 16 else [False, True]
    tiles = [(pairs[0], FEW, packing[0]), (pairs[0], MANY, packing[0])]
    tiles += [(pairs[0], FEW, packed) for packed in packing[1:] if m > 1]
    tiles += [(pair, FEW, packing[0]) for pair in pairs[1:]]
    return list(dict.fromkeys(_blocked(spec, machine, *wish) for wish in tiles))


def _weighted(spec: BatchMatmul, machine: Machine, pair: tuple[int, int], wanted: int, down: int) -> BmmTile:
    """Cut into about `down` blocks of rows, then along columns.

    Few blocks of rows read the weights few times, and as many as there are lanes leave rows with the lane that made
    them.
    """
    batch, m, n, _ = spec.extents
    vectors, rows = pair
    wide, high = ceildiv(n, vectors * machine.vector), ceildiv(m, rows)
    some = ceildiv(high, max(1, ceildiv(down, batch)))
    return BmmTile(vectors, rows, some, block_size(wide, wanted, batch * ceildiv(high, some)), True)


def _blocked(spec: BatchMatmul, machine: Machine, pair: tuple[int, int], wanted: int, packed: bool) -> BmmTile:
    """Cut along rows first, as the kernels before and after do: what one lane has written, another reads slowly.

    Where columns are packed, each block of rows packs them again: there are only as many as make items even.
    """
    batch, m, n, _ = spec.extents
    vectors, rows = pair
    wide, high = ceildiv(n, vectors * machine.vector), ceildiv(m, rows)
    down = block_size(high, 2 if packed else wanted, batch)
    across = block_size(wide, wanted, batch * ceildiv(high, down))
    return BmmTile(vectors, rows, down, across, packed)
