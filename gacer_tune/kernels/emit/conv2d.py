"""Emits `Conv2d` kernels; see gacer_tune.kernels.conv2d for what a variant is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.conv2d import Conv2d, ConvTile, grid
from gacer_tune.kernels.emit.ahead import Ahead, steps
from gacer_tune.kernels.emit.blocks import block_of, part, sized, splat
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.emit.window import column_of, each_columns, each_tap, row_of, taps_inside
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.window import Columns

Expr = Any
Place = tuple[Expr, Expr, Expr]  # image, output row, first output column
SHORT = 64  # so few pixel tiles do not hide that the weights of the next channel tile come from memory
LARGEST = 0.75  # of a core's own cache: there are to be the weights of two channel tiles
FEW_CHANNELS = 4  # a reduction over so few channels is unrolled


@dataclass(frozen=True, slots=True)
class Channels:
    """A channel tile: its group, first channel within the group, its first block of weights and the vector of that it
    begins with, vectors, channels."""

    group: Expr
    start: Expr
    block: Expr
    within: Expr
    vectors: int
    count: int


def emit(spec: Conv2d, tile: ConvTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(Convolution(spec, tile, machine, function).item)


class Convolution:
    """Emits a convolution, or parts of one, on the operands of `function`."""

    sums = "float32"

    def __init__(self, spec: Conv2d, tile: ConvTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.window, self.grid = spec.sliding, grid(spec, tile, machine)
        self.across = ceildiv(spec.out.shape[2], tile.columns)
        self.sweep = prod(spec.out.shape[:2]) * self.across if self.alone else tile.rows * self.width
        self.asks = self._asks()

    def _asks(self) -> bool:
        """Whether it pays to ask for the weights of the next channel tile."""
        inputs, tiles = self.spec.group_channels[0], self.grid.tiles * self.spec.groups
        nbytes = 4 * prod(self.spec.window) * inputs * self.tile.vectors * self.machine.vector
        sweeps = self.tile.order == "ohw" and tiles > 1 and self.sweep <= SHORT
        return sweeps and inputs > FEW_CHANNELS and nbytes <= LARGEST * self.machine.l2

    @property
    def alone(self) -> bool:
        """Whether an item has a single channel tile, and those of all pixels follow each other."""
        return self.tile.channels == 1

    @property
    def width(self) -> int:
        """Column tiles of an item's row."""
        return self.tile.width or self.across

    def item(self, item: Expr) -> None:
        n, block = self.spec.out.shape[0], item
        if self.tile.order == "ohw":
            pixels = n * self.grid.row_blocks * self.grid.width_blocks
            channel, pixel = block // pixels, block % pixels
        else:
            channel, pixel = block % self.grid.channel_blocks, block // self.grid.channel_blocks
        column, rest = pixel % self.grid.width_blocks, pixel // self.grid.width_blocks
        row, image = rest % self.grid.row_blocks, rest // self.grid.row_blocks

        height, first = self.spec.out.shape[1], row * self.tile.rows
        rows = (first, part(height, self.tile.rows, row, self.grid.row_blocks))
        if self.tile.order == "ohw":
            self.channels(channel, lambda channels: self.area(image, rows, channels, column))
            return
        with loop(rows[1]) as h:

            def across(w: Expr, run: Columns, _: Expr) -> None:
                self.channels(channel, lambda channels: self.block((image, first + h, w), run, channels))

            self.columns(column, across)

    def area(self, image: Expr, rows: tuple[Expr, Expr], channels: Channels, column: Expr = 0) -> None:
        """A channel tile of a block of columns in rows, given as (first, count)."""
        first, count = rows
        with loop(count) as h:

            def across(w: Expr, run: Columns, number: Expr) -> None:
                if self.alone:
                    turn = (image * self.spec.out.shape[1] + first + h) * self.across + number
                else:
                    turn = h * self.width + number - column * self.tile.width
                self.block((image, first + h, w), run, channels, turn)

            self.columns(column, across)

    def channels(self, block: Expr, body: Callable[[Channels], None]) -> None:
        """Run body for each channel tile of a block; the last one of a group may be smaller."""
        _, outputs = self.spec.group_channels
        vector, tiles = self.machine.vector, self.grid.tiles
        size = self.tile.vectors * vector
        blocks_of_group, half = ceildiv(outputs, self.machine.pack), self.tile.vectors == 1
        with block_of(tiles * self.spec.groups, self.tile.channels, block) as number:
            group, tile = (0, number) if self.spec.groups == 1 else (number // tiles, number % tiles)
            first = group * blocks_of_group + (tile // 2 if half else tile * (self.tile.vectors // 2))
            within = tile % 2 if half else 0

            def some(count: int) -> None:
                body(Channels(group, tile * size, first, within, ceildiv(count, vector), count))

            sized(tile, outputs, size, some)

    def columns(self, block: Expr, body: Callable[[Expr, Columns, Expr], None]) -> None:
        """Run body(first column, its run, number of the tile in its row) for each column tile of a block."""
        count, wide = self.tile.columns, self.tile.width
        if self.grid.width_blocks == 1:
            each_columns(self.window, count, lambda w, run: body(w, run, w // count))
            return
        full, rest = divmod(self.spec.out.shape[2], count)
        with loop(part(full, wide, block, self.grid.width_blocks)) as step:
            body((block * wide + step) * count, Columns(0, count, full, False), block * wide + step)
        if rest:
            last = Columns(full * count, rest, 1, False)
            when(block == self.grid.width_blocks - 1, lambda: body(last.start, last, full))

    def block(self, place: Place, columns: Columns, channels: Channels, turn: Expr = None) -> None:
        """One register tile: zero, accumulate over the window, finish, store.

        turn: its number among those with these weights, which ask for the next ones.
        """
        vector = self.machine.vector
        accumulators = T.alloc_buffer((columns.count * channels.vectors * vector,), self.sums, scope="local")
        for i in range(columns.count * channels.vectors):
            T.buffer_store(accumulators, splat(0, vector, self.sums), [T.ramp(i * vector, 1, vector)])

        def tap(y: Expr, x: Expr) -> None:
            kept = taps_inside(self.window, columns, x)
            if kept:
                self.tap(accumulators, place, (y, x), kept, channels, turn)

        each_tap(self.window, place[1], columns, tap)
        self.store(accumulators, place, columns, channels)

    def tap(
        self, accumulators: Any, place: Place, tap: tuple[Expr, Expr], kept: list[int], channels: Channels, turn: Expr
    ) -> None:
        """Add the products of one window position over all channels of the group for the columns `kept` of a tile."""
        inputs, width = self.spec.group_channels[0], self.machine.vector
        y, x = row_of(self.window, place[1], tap[0]), column_of(self.window, place[2], tap[1])

        def step(c: Expr) -> None:
            rows = [self.weights(tap, c, channels, v) for v in range(channels.vectors)]
            for i in kept:
                index = (place[0], y, x + i * self.spec.stride[1], channels.group * inputs + c)
                pixels = self.pixel(index)
                for v, weights in enumerate(rows):
                    where = T.ramp((i * channels.vectors + v) * width, 1, width)
                    T.buffer_store(accumulators, self.added(accumulators[where], pixels, weights), [where])

        if inputs <= FEW_CHANNELS:
            for c in range(inputs):
                step(c)
        else:
            steps(inputs, step, self.ahead(channels, turn, len(kept)), tap[0] * self.spec.window[1] + tap[1])

    def pixel(self, index: tuple[Expr, ...]) -> Expr:
        """A channel of a pixel, in all lanes."""
        return T.broadcast(self.function.load(0, index), self.machine.vector)

    def added(self, total: Expr, pixels: Expr, weights: Expr) -> Expr:
        """A sum and one more product."""
        return total + pixels * weights

    def total(self, value: Expr) -> Expr:
        """A sum as the program begins with it."""
        return value

    def ahead(self, channels: Channels, turn: Expr, columns: int) -> Ahead | None:
        """Asks for the weights of the next channel tile, where that pays."""
        if not self.asks:
            return None
        blocks, inputs = ceildiv(self.tile.vectors, 2), self.spec.group_channels[0]
        first, size = self.weight((0, 0), 0, channels.block + blocks), blocks * self.machine.pack
        full = (columns + 2) * channels.vectors >= self.machine.registers
        return Ahead(self.function.buffers[1], first, size, self.sweep, turn, prod(self.spec.window), inputs, full)

    def weights(self, tap: tuple[Expr, Expr], c: Expr, channels: Channels, vector: int) -> Expr:
        width = self.machine.vector
        at = self.weight(tap, c, channels.block + vector // 2) + (channels.within + vector % 2) * width
        return self.function.buffers[1][T.ramp(at, 1, width)]

    def weight(self, tap: tuple[Expr, Expr], c: Expr, block: Expr) -> Expr:
        """Where the pack of weights of a window position and a channel begins in a block."""
        rows, across = self.spec.window
        return (((block * rows + tap[0]) * across + tap[1]) * self.spec.group_channels[0] + c) * self.machine.pack

    def store(self, accumulators: Any, place: Place, columns: Columns, channels: Channels) -> None:
        vector, program, out = self.machine.vector, self.spec.program, 2 + len(self.spec.program.operands)
        first = channels.group * self.spec.group_channels[1] + channels.start
        whole, rest = divmod(channels.count, vector)
        for i in range(columns.count):
            for v in range(whole):
                index = (*place[:2], place[2] + i, first + v * vector)
                value = self.total(accumulators[T.ramp((i * channels.vectors + v) * vector, 1, vector)])
                self.function.store(out, index, self.function.finish(program, 2, index, value, vector))
        if not rest:
            return
        last = T.alloc_buffer((columns.count * vector,), "float32", scope="local")
        for i in range(columns.count):
            value = self.total(accumulators[T.ramp((i * channels.vectors + whole) * vector, 1, vector)])
            T.buffer_store(last, value, [T.ramp(i * vector, 1, vector)])
        with loop(columns.count) as i, loop(rest) as c:
            index = (*place[:2], place[2] + i, first + whole * vector + c)
            self.function.store(out, index, self.function.finish(program, 2, index, last[i * vector + c], 1))
