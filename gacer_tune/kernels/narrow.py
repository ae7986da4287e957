"""Convolution and matrix multiplication whose factors are rounded to bfloat16 and whose sums are float32, by tiles.

A tile of AMX is 16 rows of 64 bytes: 16 pixels by DEPTH channels, or DEPTH channels by 16 outputs. A work item rounds
the part of the image that it needs to a panel of its own, zeros for what is outside, and adds up three tiles of pixels
times one of weights at a time.

The panel is cut by channels and by phases: rows, and columns, that are a multiple of the stride apart lie next to one
another. So each tap of the window finds 16 neighbouring outputs' pixels in neighbouring lines, whatever stride and
dilation are. Tiles run on over the ends of rows: a few sums of each row belong to no output and are left out. Sums are
in the order (window row, window column, channel), so every variant gives the same bits.

Where channels are few, as those of a photo, a line holds all that a row of the window meets, for each of them. Rows of
bfloat16 that are multiplied by a matrix are read where they are; the last tiles begin earlier then, not to read beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.planes import Order
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.window import Pair

PIXELS = 16  # rows of a tile
DEPTH = 32  # bfloat16 of a row
FEWEST = 8  # channels that are worth a line of their own
HALVES = 2  # tiles of weights
BLOCK = 32  # outputs of so many
MOST_TILES = 8  # that are worth compiling and timing
MOST_DEEP = {1: 3, 2: 2}  # tiles of pixels at a time by those of weights, see docs/decisions/0016
PANEL = 1 << 20  # bytes that a panel may have: it lies on the stack
_LOAD = 0.2  # what a tile of weights costs, in tiles of sums


@dataclass(frozen=True, slots=True)
class NarrowConv:
    """source (n, h, w, c) with neighbouring channels, out (n, oh, ow, o); pairs as in `Conv2d`."""

    source: Tensor
    out: Tensor
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    program: Program = NOTHING

    @property
    def flops(self) -> int:
        return 2 * self.out.size * prod(self.window) * self.source.shape[3]

    @property
    def blocks(self) -> int:
        """Of outputs."""
        return ceildiv(self.out.shape[3], BLOCK)

    @property
    def halves(self) -> int:
        """Tiles of a block that have outputs."""
        return min(HALVES, ceildiv(self.out.shape[3], BLOCK // HALVES))

    @property
    def folds(self) -> bool:
        """Whether a line holds a row of the window."""
        return self.source.shape[3] < FEWEST and self.window[1] > 1

    @property
    def plain(self) -> bool:
        """Whether it multiplies one matrix, or one for each image: each pixel is for its own output."""
        return (self.window, self.stride, self.pad, self.out.shape[1]) == ((1, 1), (1, 1), (0, 0), 1)

    @property
    def direct(self) -> bool:
        """Whether tiles are read from the source itself: whole lines of bfloat16."""
        lines = self.source.strides[3] == 1 and self.source.strides[2] % DEPTH == self.source.shape[3] % DEPTH == 0
        return self.plain and lines and self.source.dtype == "bfloat16" and self.out.shape[2] >= PIXELS

    @property
    def taps(self) -> Pair:
        """Rows and columns of the window as far as lines do not hold them."""
        return self.window[0], 1 if self.folds else self.window[1]

    @property
    def chunks(self) -> int:
        """Lines of a pixel."""
        return ceildiv(self.source.shape[3] * (self.window[1] if self.folds else 1), DEPTH)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, self.weight(machine), *self.program.operands, self.out

    def weight(self, machine: Target) -> Tensor:  # noqa: ARG002 - the same for all machines
        """Packed weights, as tiles read them."""
        return dense((self.blocks, 2, *self.taps, self.chunks, DEPTH // 2, BLOCK), "uint16")

    @property
    def phases(self) -> Pair:
        """How many of the stride's rows, and columns, the window meets."""
        return self._along(0)[0], self._along(1)[0]

    @property
    def reach(self) -> Pair:
        """Rows and columns of a phase beyond the first one that a window meets."""
        return self._along(0)[1], self._along(1)[1]

    def _along(self, axis: int) -> Pair:
        taps = [tap * self.dilation[axis] for tap in range(self.taps[axis])]
        return max(tap % self.stride[axis] for tap in taps) + 1, max(tap // self.stride[axis] for tap in taps)


@dataclass(frozen=True, slots=True)
class NarrowTile:
    """An item has `rows` rows of `columns` outputs, of `blocks` blocks of channels.

    order "ohw": a block of channels sweeps over the pixels (its weights stay in cache); "hwo": pixels over the blocks.
    wide: tiles of weights that are multiplied at a time.
    """

    rows: int
    columns: int
    blocks: int
    order: Order
    wide: int = 1


@dataclass(frozen=True, slots=True)
class Panel:
    """width: of a row, in pixels; plane: pixels of a phase and a chunk; size: bfloat16 of all, none where there is no
    panel; steps: of `deep` tiles of pixels each."""

    width: int
    plane: int
    size: int
    steps: int
    deep: int


def panel(spec: NarrowConv, tile: NarrowTile) -> Panel:
    width = tile.columns + spec.reach[1]
    plane = (tile.rows + spec.reach[0]) * width
    needed = ceildiv((tile.rows - 1) * width + tile.columns, PIXELS)
    most = MOST_DEEP[tile.wide]
    deep = deep_of(needed, min(most, spec.out.shape[2] // PIXELS) if spec.direct else most)
    beyond = deep * PIXELS  # what the last tiles read of it is left out
    size = 0 if spec.direct else (spec.chunks * prod(spec.phases) * plane + beyond) * DEPTH
    return Panel(width, plane, size, ceildiv(needed, deep), deep)


def deep_of(needed: int, most: int = MOST_DEEP[1]) -> int:
    """How many of so many tiles of pixels are added up at a time."""
    return min(range(1, most + 1), key=lambda tiles: ceildiv(needed, tiles) * (tiles + _LOAD))


def cuts(spec: NarrowConv, tile: NarrowTile) -> tuple[int, int, int, int]:
    """Numbers of images and of blocks of rows, columns and channels."""
    n, height, width, _ = spec.out.shape
    return n, ceildiv(height, tile.rows), ceildiv(width, tile.columns), ceildiv(spec.blocks, tile.blocks)


def items(spec: NarrowConv, tile: NarrowTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return prod(cuts(spec, tile))


def footprint(spec: NarrowConv, tile: NarrowTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    """Bytes: of the panel, and of the weights that an item comes back to."""
    again = 1 if tile.order == "ohw" else tile.blocks
    pixels = tile.columns * spec.source.shape[3] if spec.direct else panel(spec, tile).size
    return 2 * (pixels + again * prod(spec.taps) * spec.chunks * DEPTH * BLOCK)


def candidates(spec: NarrowConv, machine: Machine) -> list[NarrowTile]:  # noqa: ARG001
    """Variants worth measuring, most promising first."""
    ways: tuple[tuple[Order, int], ...] = (("ohw", 1), ("hwo", spec.halves), ("hwo", 1))
    found = []
    for wanted, pixels_first in product((FEW // 4, FEW, MANY), (True, False)):
        found += [_blocked(spec, wanted, pixels_first, way) for way in ways]
    fitting = [tile for tile in dict.fromkeys(found) if 2 * panel(spec, tile).size <= PANEL]
    return fitting[:MOST_TILES] or [NarrowTile(1, min(PIXELS, spec.out.shape[2]), spec.blocks, "ohw")]


def fits(spec: NarrowConv) -> bool:
    """Whether there is a variant: the thinnest panel fits the stack."""
    return 2 * panel(spec, NarrowTile(1, min(PIXELS, spec.out.shape[2]), 1, "ohw")).size <= PANEL


def _blocked(spec: NarrowConv, wanted: int, pixels_first: bool, way: tuple[Order, int]) -> NarrowTile:
    """About `wanted` items, cut along pixels first, or along channels first."""
    images, height, width, _ = spec.out.shape
    cut, blocks = images, spec.blocks
    if not pixels_first:
        blocks = block_size(spec.blocks, wanted, cut)
        cut *= ceildiv(spec.blocks, blocks)
    rows = block_size(height, wanted, cut)
    cut *= ceildiv(height, rows)
    columns = width
    if rows == 1 and cut < wanted and width > PIXELS:
        columns = PIXELS * block_size(ceildiv(width, PIXELS), wanted, cut)
        cut *= ceildiv(width, columns)
    if pixels_first and cut < wanted:
        blocks = block_size(spec.blocks, wanted, cut)
    return NarrowTile(rows, min(columns, width), blocks, *way)
