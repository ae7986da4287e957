"""Emits `Conv2d` kernels; see gacer_tune.kernels.conv2d for what a variant is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.conv2d import Conv2d, ConvTile, grid
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
FEW_CHANNELS = 4  # a reduction over so few channels is unrolled


@dataclass(frozen=True, slots=True)
class Channels:
    """A channel tile: its group, first channel within the group, its first block of weights, vectors, channels."""

    group: Expr
    start: Expr
    block: Expr
    vectors: int
    count: int


@dataclass(frozen=True, slots=True)
class Columns:
    """A column tile: first output column (a number where `clipped`), how many, and whether taps must be checked."""

    start: Expr
    count: int
    clipped: bool


def emit(spec: Conv2d, tile: ConvTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine))
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: Conv2d, tile: ConvTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.grid = grid(spec, tile, machine)

    def item(self, item: Expr) -> None:
        n, block = self.spec.out.shape[0], item
        if self.tile.order == "ohw":
            pixels = n * self.grid.row_blocks * self.grid.width_blocks
            channel, pixel = block // pixels, block % pixels
        else:
            channel, pixel = block % self.grid.channel_blocks, block // self.grid.channel_blocks
        column, rest = pixel % self.grid.width_blocks, pixel // self.grid.width_blocks
        row, image = rest % self.grid.row_blocks, rest // self.grid.row_blocks

        def rows(body: Callable[[Expr], None]) -> None:
            height = self.spec.out.shape[1]
            with loop(_part(height, self.tile.rows, row, self.grid.row_blocks)) as h:
                body(row * self.tile.rows + h)

        if self.tile.order == "ohw":
            self.channels(channel, lambda c: rows(lambda h: self.columns(column, lambda w: self.block(image, h, w, c))))
        else:
            rows(lambda h: self.columns(column, lambda w: self.channels(channel, lambda c: self.block(image, h, w, c))))

    def channels(self, block: Expr, body: Callable[[Channels], None]) -> None:
        """Run body for each channel tile of a block; the last one of a group may be smaller."""
        _, outputs = self.spec.group_channels
        vector, tiles = self.machine.vector, self.grid.tiles
        size = self.tile.vectors * vector
        blocks_of_group, blocks_of_tile = ceildiv(outputs, self.machine.pack), ceildiv(self.tile.vectors, 2)
        rest = outputs - (tiles - 1) * size
        with loop(_part(tiles * self.spec.groups, self.tile.channels, block, self.grid.channel_blocks)) as step:
            number = block * self.tile.channels + step
            group, tile = (0, number) if self.spec.groups == 1 else (number // tiles, number % tiles)
            first = group * blocks_of_group + tile * blocks_of_tile
            full = Channels(group, tile * size, first, self.tile.vectors, size)
            last = Channels(group, tile * size, first, ceildiv(rest, vector), rest)
            if rest == size:
                body(full)
            elif tiles == 1:
                body(last)
            else:
                when(tile == tiles - 1, lambda: body(last), lambda: body(full))

    def columns(self, block: Expr, body: Callable[[Columns], None]) -> None:
        """Run body for each column tile of a block; clipped tiles are emitted one by one."""
        width, count = self.spec.out.shape[2], self.tile.columns
        full, rest = divmod(width, count)
        if not self.spec.clipped_columns:
            wide = self.tile.width or full + 1
            if full:
                with loop(_part(full, wide, block, self.grid.width_blocks)) as step:
                    body(Columns((block * wide + step) * count, count, False))
            if rest and self.grid.width_blocks == 1:
                body(Columns(full * count, rest, False))
            elif rest:
                when(block == self.grid.width_blocks - 1, lambda: body(Columns(full * count, rest, False)))
            return
        starts = range(0, width, count)
        plain = [s for s in starts if s + count <= width and not self.spec.clipped(s, count)]
        before = [s for s in starts if not plain or s < plain[0]]
        after = [s for s in starts if plain and s > plain[-1]]
        for start in before:
            body(Columns(start, min(count, width - start), True))
        if plain:
            with loop(len(plain)) as step:
                body(Columns(plain[0] + step * count, count, False))
        for start in after:
            body(Columns(start, min(count, width - start), True))

    def block(self, image: Expr, row: Expr, columns: Columns, channels: Channels) -> None:
        """One register tile: zero, accumulate over the window, finish, store."""
        vector = self.machine.vector
        accumulators = T.alloc_buffer((columns.count * channels.vectors * vector,), "float32", scope="local")
        zero = T.broadcast(tirx.const(0.0, "float32"), vector)
        for i in range(columns.count * channels.vectors):
            T.buffer_store(accumulators, zero, [T.ramp(i * vector, 1, vector)])
        self.reduce(accumulators, (image, row), columns, channels)
        self.store(accumulators, (image, row), columns, channels)

    def reduce(self, accumulators: Any, place: tuple[Expr, Expr], columns: Columns, channels: Channels) -> None:
        spec = self.spec
        (rows, across), row = spec.window, place[1]
        first, last = 0, rows
        if spec.clipped_rows:
            top, step = row * spec.stride[0] - spec.pad[0], spec.dilation[0]
            first = (tirx.max(-top, 0) + step - 1) // step
            last = tirx.min(rows, (spec.source.shape[1] - 1 - top + step) // step)
        with loop(last - first) as step_y:
            y = first + step_y
            if columns.clipped:
                for x in range(across):
                    self.tap(accumulators, place, (y, x), columns, channels)
            elif across == 1:
                self.tap(accumulators, place, (y, 0), columns, channels)
            else:
                with loop(across) as x:
                    self.tap(accumulators, place, (y, x), columns, channels)

    def inside(self, columns: Columns, x: Expr) -> list[int]:
        """Columns of the tile whose tap x lies in the image."""
        spec = self.spec
        if not columns.clipped:
            return list(range(columns.count))
        at = [(columns.start + i) * spec.stride[1] + x * spec.dilation[1] - spec.pad[1] for i in range(columns.count)]
        return [i for i, position in enumerate(at) if 0 <= position < spec.source.shape[2]]

    def tap(
        self, accumulators: Any, place: tuple[Expr, Expr], tap: tuple[Expr, Expr], columns: Columns, channels: Channels
    ) -> None:
        """Add the products of one window position over all channels of the group."""
        spec, inputs = self.spec, self.spec.group_channels[0]
        kept = self.inside(columns, tap[1])
        y = place[1] * spec.stride[0] + tap[0] * spec.dilation[0] - spec.pad[0]
        at = columns.start * spec.stride[1] + tap[1] * spec.dilation[1] - spec.pad[1]

        def step(c: Expr) -> None:
            rows = [self.weights(tap, c, channels, v) for v in range(channels.vectors)]
            for i in kept:
                index = (place[0], y, at + i * spec.stride[1], channels.group * inputs + c)
                value = T.broadcast(self.function.load(0, index), self.machine.vector)
                for v, weights in enumerate(rows):
                    where = T.ramp((i * channels.vectors + v) * self.machine.vector, 1, self.machine.vector)
                    T.buffer_store(accumulators, accumulators[where] + value * weights, [where])

        if not kept:
            return
        if inputs <= FEW_CHANNELS:
            for c in range(inputs):
                step(c)
        else:
            with loop(inputs) as c:
                step(c)

    def weights(self, tap: tuple[Expr, Expr], c: Expr, channels: Channels, vector: int) -> Expr:
        (rows, across), pack = self.spec.window, self.machine.pack
        inputs, width = self.spec.group_channels[0], self.machine.vector
        block = channels.block + vector // 2
        at = (((block * rows + tap[0]) * across + tap[1]) * inputs + c) * pack + vector % 2 * width
        return self.function.buffers[1][T.ramp(at, 1, width)]

    def store(self, accumulators: Any, place: tuple[Expr, Expr], columns: Columns, channels: Channels) -> None:
        vector, program, out = self.machine.vector, self.spec.program, 2 + len(self.spec.program.operands)
        first = channels.group * self.spec.group_channels[1] + channels.start
        whole, rest = divmod(channels.count, vector)
        for i in range(columns.count):
            for v in range(whole):
                index = (*place, columns.start + i, first + v * vector)
                value = accumulators[T.ramp((i * channels.vectors + v) * vector, 1, vector)]
                self.function.store(out, index, self.function.finish(program, 2, index, value, vector))
        if not rest:
            return
        last = T.alloc_buffer((columns.count * vector,), "float32", scope="local")
        for i in range(columns.count):
            value = accumulators[T.ramp((i * channels.vectors + whole) * vector, 1, vector)]
            T.buffer_store(last, value, [T.ramp(i * vector, 1, vector)])
        with loop(columns.count) as i, loop(rest) as c:
            index = (*place, columns.start + i, first + whole * vector + c)
            self.function.store(out, index, self.function.finish(program, 2, index, last[i * vector + c], 1))


def _part(total: int, size: int, block: Expr, blocks: int) -> Expr:
    """Length of one of `blocks` blocks of `size` that cover `total`; past the end it is 0."""
    if blocks == 1:
        return min(size, total)
    if size * blocks == total:
        return size
    return tirx.max(tirx.min(size, total - block * size), 0)
