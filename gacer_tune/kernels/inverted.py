"""Inverted residuals: a 1x1 convolution to many channels, a depthwise one, a 1x1 convolution to few; one end may lack.

A work item is a block of output rows. It computes the widened rows its window reaches, a channel tile at a time, lets
the window slide over them while they are in the first cache, and multiplies the results; neither leaves the second
cache. Items of one call hand the rows that both reach on, so only a call's first item computes some that another call
computes, too. Sums are added up as `conv2d` and `depthwise` do, so the result has the bits of the three kernels alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from gacer_tune.kernels.blocks import block_size
from gacer_tune.kernels.conv2d import Conv2d, ConvTile, register_tiles
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.narrow import NarrowConv
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.window import Pair

# Of an image, wanted: thick ones read weights less often, thin ones keep their rows in a nearer cache.
ITEMS = (2, 8, 16, 48)
COLUMNS = 4  # of a register tile of the depthwise convolution
MOST = 8  # vectors of any register tile


Product = TypeVar("Product", bound=Conv2d | NarrowConv)


@dataclass(frozen=True, slots=True)
class Residual(Generic[Product]):
    """expand's output is depthwise's source, whose output is project's source.

    Its kinds name the types of their fields again: by them is read back what was stored.
    """

    expand: Product | None
    depthwise: Depthwise
    project: Product | None

    @property
    def out(self) -> Tensor:
        return self.parts[-1].out

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.parts)

    @property
    def parts(self) -> tuple[Product | Depthwise, ...]:
        return tuple(part for part in (self.expand, self.depthwise, self.project) if part is not None)

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(part for part in (self.expand, self.project) if part is not None)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Source, weights and operands of the program of each part, out."""
        found = [self.parts[0].source]
        for part in self.parts:
            found += [part.weight(machine), *part.program.operands]
        return (*found, self.out)

    def reach(self, rows: int) -> int:
        """Rows of the depthwise convolution's source that `rows` rows of its output need."""
        window = self.depthwise.window
        return min((rows - 1) * window.stride[0] + (window.size[0] - 1) * window.dilation[0] + 1, window.image[0])


@dataclass(frozen=True, slots=True)
class Inverted(Residual[Conv2d]):
    """The depthwise convolution's source and output have dense strides, unless nothing is before, or behind."""

    expand: Conv2d | None
    depthwise: Depthwise
    project: Conv2d | None


@dataclass(frozen=True, slots=True)
class InvertedTile:
    """rows of an item; tiles of the two products, and columns of the depthwise convolution's register tile.

    A channel tile has `vectors` vectors in the first two parts.
    """

    rows: int
    vectors: int
    columns: int
    expand: ConvTile | None
    project: ConvTile | None


def ring(spec: Inverted, tile: InvertedTile, machine: Machine) -> Tensor:
    """The widened rows as (channel tile, row, column, channel of the tile); rows wrap at a power of two."""
    (height, width), size = spec.depthwise.window.image, tile.vectors * machine.vector
    kept = min(height, 1 << (spec.reach(tile.rows) - 1).bit_length())
    return dense((ceildiv(spec.depthwise.out.shape[3], size), kept, width, size))


def middle(spec: Inverted, tile: InvertedTile) -> Tensor:
    """The rows of an item between the window and the product that follows it."""
    return dense((1, tile.rows, *spec.depthwise.out.shape[2:]))


def scratch(spec: Inverted, tile: InvertedTile, machine: Machine) -> int:
    """Bytes."""
    widened = 0 if spec.expand is None else ring(spec, tile, machine).nbytes
    return widened + (0 if spec.project is None else middle(spec, tile).nbytes)


def footprint(spec: Inverted, tile: InvertedTile, machine: Machine) -> int:
    """Bytes of scratch and of all weights."""
    return scratch(spec, tile, machine) + sum(part.weight(machine).nbytes for part in spec.parts)


def blocks(spec: Inverted, tile: InvertedTile) -> int:
    """Items of one image."""
    return ceildiv(spec.out.shape[1], tile.rows)


def items(spec: Inverted, tile: InvertedTile, machine: Machine) -> int:  # noqa: ARG001 - the same for every rule
    return spec.out.shape[0] * blocks(spec, tile)


def candidates(spec: Inverted, machine: Machine) -> list[InvertedTile]:
    """Variants worth measuring, most promising first."""
    sizes = dict.fromkeys(block_size(spec.out.shape[1], wanted) for wanted in ITEMS)
    tiles = dict.fromkeys(_tile(spec, machine, rows, widest) for rows in sizes for widest in (True, False))
    found = [tile for tile in tiles if scratch(spec, tile, machine) <= machine.l2 // 2]
    return found or [min(tiles, key=lambda tile: tile.rows)]


def _tile(spec: Inverted, machine: Machine, rows: int, widest: bool) -> InvertedTile:
    vectors = 2 if spec.depthwise.out.shape[3] > machine.vector else 1
    columns = min(COLUMNS, spec.depthwise.out.shape[2])
    expand, project = (
        None if part is None else _product(part, machine, (rows, limit), widest)
        for part, limit in ((spec.expand, vectors), (spec.project, MOST))
    )
    return InvertedTile(rows, vectors, columns, expand, project)


def _product(spec: Conv2d, machine: Machine, sizes: Pair, widest: bool) -> ConvTile:
    """All channels of an item; sizes: its rows, and the most vectors of a register tile.

    widest: the register tile has many columns, else the fewest cycles in the model.
    """
    rows, limit = sizes
    pairs = [pair for pair in register_tiles(spec, machine, most=12) if pair[0] <= limit]
    pairs = pairs or [(limit, min(COLUMNS, spec.out.shape[2]))]  # of narrow images wider ones are the best
    best = max(pairs, key=lambda pair: pair[1]) if widest else pairs[0]
    return ConvTile(*best, rows, 0, ceildiv(spec.out.shape[3], best[0] * machine.vector), "ohw")
