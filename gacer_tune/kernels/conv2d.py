"""Convolution (also matrix multiplication, which is one with a 1x1 window) on channels-last data, packed weights.

A work item is a block of output rows, columns and channels. Its tiles keep `columns` x `vectors` accumulators in
registers over the whole reduction, in the order (window row, window column, channel), so every variant of a kernel
adds in the same order and gives the same bits. Padding costs no copy: rows outside the image shorten the loop over
window rows, and the tiles at the left and right edge are emitted apart, with the taps they really have.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

from gacer_tune.kernels.blocks import FEW, MANY, MOST, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.planes import Order
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.window import Pair, Window

MOST_TILES = 8  # that are worth compiling and timing
HARDLY = 1.05  # times the cycles of the best register tile


@dataclass(frozen=True, slots=True)
class Conv2d:
    """source (n, h, w, c), out (n, oh, ow, o); window, stride and dilation as (rows, columns); pad as (top, left)."""

    source: Tensor
    out: Tensor
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    program: Program = NOTHING

    @property
    def group_channels(self) -> Pair:
        """Input and output channels of one group."""
        return self.source.shape[3] // self.groups, self.out.shape[3] // self.groups

    @property
    def flops(self) -> int:
        return 2 * self.out.size * self.window[0] * self.window[1] * self.group_channels[0]

    def weight(self, machine: Target) -> Tensor:
        """Packed weights: (groups, blocks, rows, columns, channels of a group, pack)."""
        inputs, outputs = self.group_channels
        shape = (self.groups, ceildiv(outputs, machine.pack), *self.window, inputs, machine.pack)
        return dense(shape, machine.dtype)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, self.weight(machine), *self.program.operands, self.out

    @property
    def sliding(self) -> Window:
        image, out = self.source.shape[1:3], self.out.shape[1:3]
        return Window(self.window, self.stride, self.pad, self.dilation, (image[0], image[1]), (out[0], out[1]))

    @property
    def clipped_rows(self) -> bool:
        return self.sliding.clipped_rows

    @property
    def clipped_columns(self) -> bool:
        return self.sliding.clipped_columns


@dataclass(frozen=True, slots=True)
class ConvTile:
    """vectors x columns accumulators; an item has `rows` rows, `width` column tiles (0: all), `channels` channel tiles.

    order "ohw": a channel tile sweeps over the pixels (its weights stay in cache); "hwo": a pixel tile sweeps over the
    channels (its inputs stay in cache).
    """

    vectors: int
    columns: int
    rows: int
    width: int
    channels: int
    order: Order


@dataclass(frozen=True, slots=True)
class Grid:
    """How a tile cuts the output: numbers of channel tiles, of blocks along each axis, and items."""

    tiles: int  # channel tiles of one group
    channel_blocks: int
    row_blocks: int
    width_blocks: int
    items: int


def grid(spec: Conv2d, tile: ConvTile, machine: Machine) -> Grid:
    n, height, width, _ = spec.out.shape
    tiles = ceildiv(spec.group_channels[1], tile.vectors * machine.vector)
    channel_blocks = ceildiv(tiles * spec.groups, tile.channels)
    row_blocks = ceildiv(height, tile.rows)
    width_blocks = ceildiv(ceildiv(width, tile.columns), tile.width) if tile.width else 1
    return Grid(tiles, channel_blocks, row_blocks, width_blocks, n * channel_blocks * row_blocks * width_blocks)


def items(spec: Conv2d, tile: ConvTile, machine: Machine) -> int:
    return grid(spec, tile, machine).items


def footprint(spec: Conv2d, tile: ConvTile, machine: Machine) -> int:
    """Bytes: "ohw" comes back to the weights of a channel tile, and to its pixels for the next tile; "hwo" to the
    weights of all its channel tiles, and to the pixels of a column tile."""
    inputs, outputs = spec.group_channels
    wide = tile.columns * (tile.width or ceildiv(spec.out.shape[2], tile.columns))
    again = tile.order == "ohw" and tile.channels > 1
    held = 1 if tile.order == "ohw" else tile.channels
    extent = tile.rows if again else 1, wide if again else tile.columns
    pixels = prod(
        min((count - 1) * stride + (size - 1) * dilation + 1, image)
        for count, stride, size, dilation, image in zip(
            extent, spec.stride, spec.window, spec.dilation, spec.source.shape[1:3], strict=True
        )
    )
    weights = prod(spec.window) * inputs * min(held * tile.vectors * machine.vector, outputs * spec.groups)
    return 4 * (weights + pixels * inputs)


def cycles(spec: Conv2d, vectors: int, columns: int, machine: Machine) -> float:
    """Cycles of one output row per reduction step: two multiply-adds or loads a cycle, a latency of four."""
    width, outputs = spec.out.shape[2], spec.group_channels[1]

    def tile(wide: int, deep: int) -> float:
        return max(wide * deep / 2, (wide + deep) / 2, 4.0)

    def row(deep: int) -> float:
        full, rest = divmod(width, columns)
        return full * tile(columns, deep) + (tile(rest, deep) if rest else 0.0)

    full, rest = divmod(outputs, vectors * machine.vector)
    return full * row(vectors) + (row(ceildiv(rest, machine.vector)) if rest else 0.0)


def register_tiles(spec: Conv2d, machine: Machine, most: int = 3) -> list[Pair]:
    """The (vectors, columns) pairs with the fewest modelled cycles that fit the registers, best first."""
    outputs = spec.group_channels[1]
    depths = [1] if outputs <= machine.vector else [2, 4] if spec.out.shape[2] > 1 else [2, 4, 8]
    fitting = [depth for depth in depths if depth <= 2 or outputs >= depth * machine.vector]
    found = sorted(cost for depth in fitting for cost in _costs(spec, depth, machine))
    return [pair for cost, _, pair in found if cost <= 1.3 * found[0][0]][:most]


def _costs(spec: Conv2d, vectors: int, machine: Machine) -> list[tuple[float, int, Pair]]:
    """(cycles, minus accumulators, register tile) of the tiles with so many vectors that fit the registers."""
    widest = max(1, min((machine.registers - vectors - 1) // vectors, spec.out.shape[2]))
    return [
        (cycles(spec, vectors, columns, machine), -columns * vectors, (vectors, columns))
        for columns in range(1, widest + 1)
    ]


def candidates(spec: Conv2d, machine: Machine) -> list[ConvTile]:
    """Variants worth measuring, most promising first."""
    best, *others = _most_unlike(spec, register_tiles(spec, machine, most=6), machine)
    orders: tuple[Order, ...] = ("ohw", "hwo")
    wishes = [*product((best, *others[:1]), (FEW,), orders), *product((best,), (MANY,), orders)]
    wishes += [(best, MOST, "ohw"), *((pair, FEW, "ohw") for pair in others[1:])]
    thin = min(_costs(spec, 1, machine))[2]  # comes back to half of the weights
    found = dict.fromkeys(_blocked(spec, machine, pair, order, wanted) for pair, wanted, order in wishes)
    return list(dict.fromkeys([*list(found)[: MOST_TILES - 1], _blocked(spec, machine, thin, "ohw", MANY)]))


def _most_unlike(spec: Conv2d, pairs: list[Pair], machine: Machine) -> list[Pair]:
    """The best one, and two others: first one that loads less for each multiply-add and takes hardly more cycles."""
    best, *others = pairs

    def loads(pair: Pair) -> float:
        return sum(pair) / prod(pair)

    limit = HARDLY * cycles(spec, *best, machine)
    light = [pair for pair in others if loads(pair) < loads(best) and cycles(spec, *pair, machine) <= limit]
    return [best, *list(dict.fromkeys([*light[:1], *others]))[:2]]


def _blocked(spec: Conv2d, machine: Machine, pair: Pair, order: Order, wanted: int) -> ConvTile:
    """Choose blocks that give about `wanted` items, along channels first for "ohw", along pixels first for "hwo"."""
    vectors, columns = pair
    images, height, width, _ = spec.out.shape
    tiles = ceildiv(spec.group_channels[1], vectors * machine.vector) * spec.groups
    column_tiles = ceildiv(width, columns)
    channels = block_size(tiles, wanted, images) if order == "ohw" else tiles
    cut = images * ceildiv(tiles, channels)
    rows = block_size(height, wanted, cut)
    cut *= ceildiv(height, rows)
    wide = column_tiles if spec.clipped_columns else block_size(column_tiles, wanted, cut)
    if order == "hwo":
        channels = block_size(tiles, wanted, cut * ceildiv(column_tiles, wide))
    return ConvTile(vectors, columns, rows, wide if wide < column_tiles else 0, channels, order)
