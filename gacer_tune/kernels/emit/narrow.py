"""Emits `NarrowConv` kernels; see gacer_tune.kernels.narrow for what a variant is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.bfloat16 import rounded
from gacer_tune.kernels.emit.blocks import block_of, fetch, pieces, scattered, shuffled, sized, splat, unravel
from gacer_tune.kernels.emit.function import Function, address, loop, when
from gacer_tune.kernels.emit.tiles import Lines, Tiles
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import BLOCK, DEPTH, HALVES, PIXELS, NarrowConv, NarrowTile, cuts, panel
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
STREAMS = 4  # of tiles of weights that are asked for ahead, each of them many lines
_TILE = PIXELS * DEPTH  # bfloat16 of a tile


def emit(spec: NarrowConv, tile: NarrowTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    images, rows, columns, blocks = cuts(spec, tile)

    def item(number: Expr) -> None:
        # Neighbouring items share weights, as those of one lane do.
        block, image, row, column = unravel(number, (blocks, images, rows, columns))
        product = Product(spec, tile, machine, function, (image, row * tile.rows, column * tile.columns))
        if not spec.direct:
            product.gather()
        tiles = product.tiles()
        product.multiply(tiles, partial(block_of, spec.blocks, tile.blocks, block))
        tiles.release()

    return function.build(item)


class Product:
    """Outputs from one on: first as (image, row, column); columns: how many there are, where not all of the tile's."""

    def __init__(
        self,
        spec: NarrowConv,
        tile: NarrowTile,
        machine: Machine,
        function: Function,
        first: tuple[Expr, Expr, Expr],
        columns: Expr | None = None,
    ) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.image, self.row, self.column = first
        self.columns = tile.columns if columns is None else columns
        self.panel = panel(spec, tile)
        self.sums = Lines(self.panel.deep * PIXELS * BLOCK, "float32")
        self.pixels = Lines(self.panel.size, "uint16")

    def tiles(self) -> Tiles:
        return Tiles(self.machine, self.panel.deep * self.tile.wide, self.tile.wide)

    def multiply(self, tiles: Tiles, blocks: Callable[[], AbstractContextManager[Expr]]) -> None:
        """All steps of some blocks of channels."""
        if self.tile.order == "ohw":
            with blocks() as block, loop(self.panel.steps) as step:
                self.add_up(tiles, block, step)
        else:
            with loop(self.panel.steps) as step, blocks() as block:
                self.add_up(tiles, block, step)

    def gather(self) -> None:
        """Round the pixels that the item needs, phase by phase; those outside of the image are 0."""
        with loop(self.spec.phases[0]) as phase, loop(self.tile.rows + self.spec.reach[0]) as row:
            y = T.bind((self.row + row) * self.spec.stride[0] + phase - self.spec.pad[0])
            if self.spec.folds:
                self.fold(y, T.bind(self.line((phase, 0), 0, row * self.panel.width)))
            else:
                self.pick(y, phase, row)

    def pick(self, y: Expr, phase: Expr, row: Expr) -> None:
        """The pixels of a row, each with all of its channels."""
        spec, (_, height, width, _) = self.spec, self.spec.source.shape
        with loop(spec.phases[1]) as across, loop(self.panel.width) as column:
            x = T.bind((self.column + column) * spec.stride[1] + across - spec.pad[1])
            at = T.bind(self.line((phase, across), 0, row * self.panel.width + column))
            inside = tirx.all(y >= 0, y < height, x >= 0, x < width)
            when(inside, partial(self.round, (self.image, y, x), at), partial(self.clear, at))

    def round(self, pixel: tuple[Expr, ...], at: Expr) -> None:
        """All channels of a pixel."""
        whole, rest = divmod(self.spec.source.shape[3], DEPTH)
        vector = self.machine.vector

        def keep(chunk: Expr, first: int, width: int) -> None:
            value = self.function.load_narrow(0, (*pixel, chunk * DEPTH + first), width)
            self.pixels.store(at + chunk * self.between + first, value)

        if whole:
            with loop(whole) as chunk:
                for first, width in pieces(0, DEPTH, DEPTH if self.spec.source.dtype == "bfloat16" else vector):
                    keep(chunk, first, width)
        if rest:
            self.zeros(at + whole * self.between)
            for first, width in pieces(0, rest, vector):
                keep(whole, first, width)

    def fold(self, y: Expr, at: Expr) -> None:
        """To each line of a row what a row of the window meets from a pixel on, of each channel."""
        count, some = self.panel.width, self.together
        groups = count // some if some else 0
        within = tirx.all(y >= 0, y < self.spec.source.shape[1])

        def one_by_one(first: Expr, lines: int) -> None:
            with loop(lines) as line:
                begin = T.bind(at + (first + line) * DEPTH)
                self.clear(begin)
                when(within, lambda: self.fold_one(y, self.across(first + line), begin))

        if groups:
            with loop(groups) as group:
                x = T.bind(self.across(group * some))
                inside = tirx.all(within, x >= 0, x + PIXELS <= self.spec.source.shape[2])
                fast = partial(self.fold_some, y, x, at + group * some * DEPTH)
                when(inside, fast, partial(one_by_one, group * some, some))
        one_by_one(groups * some, count - groups * some)

    def across(self, column: Expr) -> Expr:
        """Where the window of a column of the item begins."""
        return (self.column + column) * self.spec.stride[1] - self.spec.pad[1]

    @property
    def together(self) -> int:
        """How many windows side by side a vector holds of each channel; none where rows are no vectors."""
        spec = self.spec
        span = (spec.window[1] - 1) * spec.dilation[1] + 1
        whole = spec.source.strides[2] == 1 and span <= PIXELS
        return 1 + (PIXELS - span) // spec.stride[1] if whole else 0

    def fold_some(self, y: Expr, x: Expr, at: Expr) -> None:
        """The lines of `together` windows, of which the first begins at x."""
        spec, channels = self.spec, range(self.spec.source.shape[3])
        values = [self.function.load_from(0, address(spec.source, (self.image, y, x, c)), PIXELS, 1) for c in channels]
        rows = [*(T.bind(rounded(value, self.machine)) for value in values), splat(0, PIXELS, "uint16")]
        for number in range(self.together):
            taps = [number * spec.stride[1] + s * spec.dilation[1] for s in range(spec.window[1])]
            lanes = [c * PIXELS + tap for c in channels for tap in taps]
            lanes += [len(channels) * PIXELS] * (spec.chunks * DEPTH - len(lanes))
            for chunk in range(spec.chunks):
                line = shuffled(rows, lanes[chunk * DEPTH : (chunk + 1) * DEPTH])
                self.pixels.store(at + number * DEPTH + chunk * self.between, line)

    def fold_one(self, y: Expr, x: Expr, at: Expr) -> None:
        """The line of the window that begins at x; it is 0 before."""
        channels, width = range(self.spec.source.shape[3]), self.spec.source.shape[2]
        for s in range(self.spec.window[1]):
            tap = x + s * self.spec.dilation[1]
            when(tirx.all(tap >= 0, tap < width), partial(self.fold_tap, (y, tap), at, s, channels))

    def fold_tap(self, place: tuple[Expr, Expr], at: Expr, s: int, channels: Sequence[int]) -> None:
        """What column s of the window meets, of each channel."""
        for c in channels:
            number = c * self.spec.window[1] + s
            value = rounded(self.function.load(0, (self.image, *place, c)), self.machine)
            self.pixels.store(at + (number // DEPTH) * self.between + number % DEPTH, value)

    def clear(self, at: Expr) -> None:
        with loop(self.spec.chunks) as chunk:
            self.zeros(at + chunk * self.between)

    def zeros(self, at: Expr) -> None:
        self.pixels.store(at, splat(0, DEPTH, "uint16"))

    @property
    def between(self) -> int:
        """bfloat16 from a chunk to the next one."""
        return prod(self.spec.phases) * self.panel.plane * DEPTH

    def line(self, phase: tuple[Expr, Expr], chunk: Expr, pixel: Expr) -> Expr:
        """Where a pixel's channels of a chunk begin in the panel."""
        plane = phase[0] * self.spec.phases[1] + phase[1]
        return chunk * self.between + (plane * self.panel.plane + pixel) * DEPTH

    def add_up(self, tiles: Tiles, block: Expr, step: Expr) -> None:
        """A few tiles of pixels times a block of outputs, over the window and all channels."""
        first = T.bind(self.first(step))
        with loop(ceildiv(self.spec.halves, self.tile.wide)) as half:
            self.add_up_halves(tiles, block * HALVES + half, step, first)
            for i, j in self.pairs:
                place = i * PIXELS * BLOCK + (half + j) * (BLOCK // HALVES)
                tiles.store(i * self.tile.wide + j, self.sums, place, BLOCK)
        self.finish(block, first)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Tiles of pixels and halves of a block that are multiplied at a time."""
        return [(i, j) for i in range(self.panel.deep) for j in range(self.tile.wide)]

    def first(self, step: Expr) -> Expr:
        """The first pixel of a step, counted from the item's own first one."""
        count = self.panel.deep * PIXELS
        last = self.spec.out.shape[2] - count - self.column
        return tirx.min(step * count, last) if self.spec.direct else step * count

    def load(self, tiles: Tiles, i: int, pixel: Expr, tap: tuple[Expr, Expr], chunk: Expr) -> None:
        """Tile i of the pixels from one on that a tap of the window meets."""
        spec, source = self.spec, self.spec.source
        if spec.direct:
            at = address(source, (self.image, 0, self.column + pixel + i * PIXELS, chunk * DEPTH))
            tiles.load(tiles.left, self.function.buffers[0], at, source.strides[2])
            return
        down, across = tap[0] * spec.dilation[0], tap[1] * spec.dilation[1]
        phase = down % spec.stride[0], across % spec.stride[1]
        beyond = (down // spec.stride[0]) * self.panel.width + across // spec.stride[1]
        at = self.line(phase, chunk, beyond + pixel + i * PIXELS)
        tiles.load(tiles.left, self.pixels.buffer, self.pixels.start + at, DEPTH)

    def add_up_halves(self, tiles: Tiles, half: Expr, step: Expr, first: Expr) -> None:
        """The same for `wide` halves of a block. The first step brings the weights that are next nearer."""
        spec, wide = self.spec, self.tile.wide
        for i, j in self.pairs:
            tiles.zero(i * wide + j)
        with loop(spec.taps[0]) as r, loop(spec.taps[1]) as s, loop(spec.chunks) as k:
            for j in range(wide):
                weights = ((((half + j) * spec.taps[0] + r) * spec.taps[1] + s) * spec.chunks + k) * _TILE
                when(step == 0, partial(self.ask, half + j, (r * spec.taps[1] + s) * spec.chunks + k))
                tiles.load(tiles.right + j, self.function.buffers[1], weights, DEPTH)
            for i in range(self.panel.deep):
                self.load(tiles, i, first, (r, s), k)
                for j in range(wide):
                    tiles.dot(i * wide + j, tiles.left, tiles.right + j)

    def ask(self, half: Expr, number: Expr) -> None:
        """Ask for one of the tiles of weights that come `wide` halves later."""
        count = prod(self.spec.taps) * self.spec.chunks
        tile = (half + self.tile.wide) * count + scattered(number, count, STREAMS)
        fetch(self.function.buffers[1], tile * _TILE, _TILE)

    def finish(self, block: Expr, first: Expr) -> None:
        """Run the program on the sums that belong to outputs, and store them."""
        _, height, width, outputs = self.spec.out.shape
        with loop(self.panel.deep * PIXELS) as i:
            at, across = T.bind(first + i), self.panel.width
            row, column = (0, at) if self.tile.rows == 1 else (T.bind(at // across), T.bind(at % across))
            y, x = T.bind(self.row + row), T.bind(self.column + column)
            real = tirx.all(row < self.tile.rows, column >= 0, column < self.columns, y < height, x < width)
            pixel = (self.image, y, x)
            when(real, lambda: sized(block, outputs, BLOCK, lambda count: self.store(pixel, block, i, count)))

    def store(self, pixel: tuple[Expr, ...], block: Expr, i: Expr, count: int) -> None:
        program, out = self.spec.program, len(self.function.tensors) - 1
        for first, width in pieces(0, count, self.machine.vector):
            index = (*pixel, block * BLOCK + first)
            value = T.bind(self.sums.vector(i * BLOCK + first, width))
            self.function.store(out, index, self.function.finish(program, 2, index, value, width))
