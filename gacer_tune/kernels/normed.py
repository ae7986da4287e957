"""A product with constant weights and the normalisation of its rows, by one kernel.

A work item is a block of rows with all columns: a tile of columns sweeps over its rows as in `bmm`, and once the last
one is done the rows are whole, in the second cache, and are normalised where they are. Each item reads all weights.
Sums are added up as `bmm` and `rows` do, so the result has the bits of the two kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels import bmm
from gacer_tune.kernels.bmm import BatchMatmul, BmmTile, Grid, register_tiles, wide_tiles
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.tensor import Tensor, ceildiv

THINNEST = 16  # rows of a block: fewer read weights faster than they come
UNEVEN = 1.04  # the time of the busiest lane over the mean that is less than what one kernel gains


@dataclass(frozen=True, slots=True)
class Normed:
    """The output (m, n) of product is source and output of norm; they have no axes but these."""

    product: BatchMatmul
    norm: Rows

    @property
    def out(self) -> Tensor:
        return self.norm.out

    @property
    def flops(self) -> int:
        return self.product.flops + self.norm.flops

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """What the product reads, what the normalisation reads beside it, the output."""
        return (*self.product.tensors(machine)[:-1], *self.norm.tensors(machine)[1:])


@dataclass(frozen=True, slots=True)
class NormedTile:
    """`blocks` items, each of `high` tiles of rows and all tiles of columns, which have `vectors` vectors."""

    vectors: int
    high: int
    blocks: int


def layout(spec: Normed, tile: NormedTile, machine: Machine) -> tuple[BmmTile, Grid]:
    """The product's tile, and the grid of items."""
    _, m, n, _ = spec.product.extents
    wide, high = ceildiv(n, tile.vectors * machine.vector), tile.high * tile.blocks
    return BmmTile(tile.vectors, ceildiv(m, high), tile.high, wide, True), Grid(wide, high, 1, tile.blocks, tile.blocks)


def items(spec: Normed, tile: NormedTile, machine: Machine) -> int:  # noqa: ARG001 - the same for every rule
    return tile.blocks


def footprint(spec: Normed, tile: NormedTile, machine: Machine) -> int:
    """Bytes: what the product comes back to, and the rows until they are normalised."""
    _, m, n, _ = spec.product.extents
    return bmm.footprint(spec.product, layout(spec, tile, machine)[0], machine) + 4 * n * ceildiv(m, tile.blocks)


def candidates(spec: Normed, machine: Machine) -> list[NormedTile]:
    """Variants worth measuring: thin blocks for many lanes first, some in between, one for each of two lanes."""
    pairs = [*wide_tiles(spec.product, machine), register_tiles(spec.product, machine)[0]]
    return [tile for pair in pairs for tile in _tiles(spec, pair)]


def _tiles(spec: Normed, pair: tuple[int, int]) -> list[NormedTile]:
    """With register tiles of so many vectors and rows, thinnest blocks first."""
    _, m, _, _ = spec.product.extents
    vectors, rows = pair
    thin = (m // THINNEST).bit_length() - 1  # all are powers of two
    blocks = dict.fromkeys(1 << power for power in (thin, (thin + 1) // 2, 1))
    return [NormedTile(vectors, ceildiv(ceildiv(m, count), rows), count) for count in blocks]


def pays(spec: Normed, machine: Machine, lanes: int) -> bool:
    """Whether one kernel is faster than two.

    Thin blocks of at least THINNEST rows must have room in a core's cache and be shared evenly by the lanes: two
    kernels are cut along columns, too. Two lanes need 32 rows, eight 128.
    """
    _, m, _, _ = spec.product.extents
    if m < 2 * THINNEST:
        return False
    thin = _tiles(spec, register_tiles(spec.product, machine)[0])[0]
    busiest = ceildiv(thin.blocks, lanes) * lanes / thin.blocks
    return busiest <= UNEVEN and footprint(spec, thin, machine) <= machine.l2
