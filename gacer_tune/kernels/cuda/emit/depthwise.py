"""Emits `Depthwise` kernels for a GPU.

A thread walks the columns of the source that its output columns need, so each is read once a window row. Every value
adds up its taps in the order (row, column), whatever the tile; taps outside the image are left out.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.depthwise import DepthwiseTile, tiles_of
from gacer_tune.kernels.cuda.emit.function import Function, fma, local
from gacer_tune.kernels.cuda.emit.window import inside, place, taps
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.emit.blocks import unravel
from gacer_tune.kernels.emit.function import loop, when

Expr = Any


def emit(spec: Depthwise, tile: DepthwiseTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(gpu), tile.threads)
    return function.build(_Emitter(spec, tile, function).block)


class _Emitter:
    def __init__(self, spec: Depthwise, tile: DepthwiseTile, function: Function) -> None:
        self.spec, self.tile, self.function, self.window = spec, tile, function, spec.window

    def block(self, block: Expr) -> None:
        shape = tiles_of(self.spec, self.tile)
        number = block * self.tile.threads + self.function.thread

        def tile() -> None:
            image, row, columns, channels = unravel(number, shape)
            self.channels(image, row, columns * self.tile.columns, channels * self.tile.width)

        when(number < prod(shape), tile)

    def channels(self, image: Expr, row: Expr, column: Expr, channel: Expr) -> None:
        """Whole widths of channels at once, the rest one by one."""
        width, extent = self.tile.width, self.spec.out.shape[3]

        def rest() -> None:
            with loop(extent % width) as step:
                self.pixels((image, row, column), channel + step, 1)

        if extent % width == 0:
            self.pixels((image, row, column), channel, width)
        else:
            when(channel + width <= extent, lambda: self.pixels((image, row, column), channel, width), rest)

    def pixels(self, first: tuple[Expr, Expr, Expr], channel: Expr, width: int) -> None:
        """Add up all taps of some output columns, then finish and store them."""
        image, row, column = first
        sums = local(self.tile.columns * width)
        for i in range(self.tile.columns * width):
            T.buffer_store(sums, tirx.const(0.0, "float32"), [i])
        top, rows = taps(self.window, 0, row)
        with loop(rows) as step:
            y = T.bind(top + step)
            self.row(sums, (image, place(self.window, 0, row, y), column, channel), y, width)
        for i in range(self.tile.columns):
            self.store(sums, (image, row, column + i, channel), i, width)

    def row(self, sums: Any, start: tuple[Expr, ...], y: Expr, width: int) -> None:
        """Add the products of one window row; start: image, source row, first output column, channel."""
        image, at, column, channel = start
        window, columns = self.window, self.tile.columns
        step, dilation, size = window.stride[1], window.dilation[1], window.size[1]
        weights = [self.function.load_run(1, (y, x, channel), width) for x in range(size)]
        uses: dict[int, list[tuple[int, int]]] = {}
        for i in range(columns):
            for x in range(size):
                uses.setdefault(i * step + x * dilation, []).append((i, x))
        for offset, pairs in sorted(uses.items()):
            source = column * step + offset - window.pad[1]

            def add(source: Expr = source, pairs: list[tuple[int, int]] = pairs) -> None:
                values = self.function.load_run(0, (image, at, source, channel), width)
                for i, x in pairs:
                    for c in range(width):
                        where = i * width + c
                        T.buffer_store(sums, fma(values[c], weights[x][c], sums[where]), [where])

            if inside(window, 1) and window.out[1] % columns == 0:
                add()
            else:
                when(tirx.And(source >= 0, source < window.image[1]), add)

    def store(self, sums: Any, index: tuple[Expr, ...], number: int, width: int) -> None:
        def finish() -> None:
            values = [sums[number * width + c] for c in range(width)]
            program = self.spec.program
            self.function.store_run(
                2 + len(program.operands), index, self.function.finish_run(program, 2, index, values)
            )

        if self.spec.out.shape[2] % self.tile.columns == 0:
            finish()
        else:
            when(index[2] < self.spec.out.shape[2], finish)
