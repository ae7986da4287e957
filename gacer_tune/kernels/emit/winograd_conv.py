"""Emits `WinogradConv` kernels; see gacer_tune.kernels.winograd_conv for what an item does."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import LINE, fetch, unravel
from gacer_tune.kernels.emit.bmm import add_products, begin_of, each_vector, row_tiles, zeros
from gacer_tune.kernels.emit.function import Function, loop
from gacer_tune.kernels.emit.winograd import Place, image_tile, put_tile
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import STORED
from gacer_tune.kernels.winograd_conv import VECTORS, Run, WinogradConv, items, register_tiles

Expr = Any
AHEAD = 64  # channels before their weights are needed


def emit(spec: WinogradConv, tile: Run, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: WinogradConv, tile: Run, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.points, self.inputs, self.outputs = spec.way.points, spec.source.shape[3], spec.out.shape[3]
        # So that tiles do not all fall into the same set of a cache.
        self.apart = self.points * self.inputs + LINE // STORED["float32"]
        self.rows, self.items = register_tiles(spec, tile), items(spec, tile, machine)
        self.before: Any = None  # (tiles of the item, points, input channels)
        self.after: Any = None  # (tiles of the item, points, a pack of output channels)

    def item(self, item: Expr) -> None:
        most = self.tile.rows * self.tile.high
        self.before = T.alloc_buffer((most * self.apart,), "float32", scope="local")
        self.after = T.alloc_buffer((most * self.points * self.machine.pack,), "float32", scope="local")
        register_tiles = (item * self.tile.high, tirx.min((item + 1) * self.tile.high, self.rows))
        first, behind = (T.bind(begin_of(tile, self.spec.count, self.rows)) for tile in register_tiles)
        count = behind - first
        with loop(count) as number, loop(self.inputs // self.machine.vector) as v:
            self.transform(number, self.place(first + number, v * self.machine.vector))
        with loop(self.outputs // self.machine.pack) as block:
            with loop(self.points) as point:
                span = (item, self.tile.high, self.items)
                row_tiles(
                    self.spec.count, self.rows, span, lambda row, rows, _: self.product(row - first, rows, block, point)
                )
            with loop(count) as number, loop(VECTORS) as v:
                channel = v * self.machine.vector
                self.finish(number, channel, self.place(first + number, block * self.machine.pack + channel))

    def place(self, tile: Expr, channel: Expr) -> Place:
        image, row, column = unravel(tile, self.spec.grid)
        return image, row, column, channel

    def transform(self, number: Expr, place: Place) -> None:
        """One vector of channels of one tile of the image, into scratch."""
        width = self.machine.vector
        for point, value in enumerate(image_tile(self.function, self.spec, place, width)):
            at = number * self.apart + point * self.inputs + place[3]
            T.buffer_store(self.before, value, [T.ramp(at, 1, width)])

    def product(self, first: Expr, rows: int, block: Expr, point: Expr) -> None:
        """Tiles [first, first + rows) of the item times the weights of a point, for a pack of channels."""
        width, pack = self.machine.vector, self.machine.pack
        accumulators = zeros(rows * VECTORS, width)

        def left(i: int, k: Expr) -> Expr:
            return self.before[(first + i) * self.apart + point * self.inputs + k]

        def right(k: Expr, v: int) -> Expr:
            at = ((block * self.points + point) * self.inputs + k) * pack + v * width
            if v == 0:
                fetch(self.function.buffers[1], at + AHEAD * pack, pack, cache=1)
            return self.function.buffers[1][T.ramp(at, 1, width)]

        def keep(i: int, channel: int, value: Expr) -> None:
            at = ((first + i) * self.points + point) * pack + channel
            T.buffer_store(self.after, value, [T.ramp(at, 1, width)])

        add_products(accumulators, (rows, VECTORS, width), self.inputs, left, right)
        each_vector(accumulators, (rows, VECTORS, width), pack, keep)

    def finish(self, number: Expr, channel: Expr, place: Place) -> None:
        """One vector of channels of one tile, from scratch to the image."""

        def product(point: int) -> Expr:
            at = (number * self.points + point) * self.machine.pack + channel
            return self.after[T.ramp(at, 1, self.machine.vector)]

        put_tile(self.function, self.spec, place, product, 2)
