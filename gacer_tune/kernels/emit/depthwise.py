"""Emits `Depthwise` kernels; see gacer_tune.kernels.depthwise for what a variant is."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.emit.blocks import run, splat
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.emit.planes import Strip, each_strip
from gacer_tune.kernels.emit.window import WIDE, column_of, each_columns, each_tap, row_of, taps_inside
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.window import Columns

Expr = Any


def emit(spec: Depthwise, tile: PlaneTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(Sliding(spec, tile, machine, function).item)


class Sliding:
    """Emits a depthwise convolution, or strips of one, on the operands of `function`."""

    def __init__(self, spec: Depthwise, tile: PlaneTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.window = spec.window

    def item(self, item: Expr) -> None:
        each_strip(self.spec.out, self.tile, self.machine.vector, item, self.strip)

    def strip(self, strip: Strip) -> None:
        def block(column: Expr, columns: Columns) -> None:
            self.block(strip, column, columns)

        each_columns(self.window, self.tile.columns, block)

    def block(self, strip: Strip, column: Expr, columns: Columns) -> None:
        """One register tile: zero, accumulate over the window, finish, store."""
        accumulators = T.alloc_buffer((columns.count * strip.size,), "float32", scope="local")
        for i in range(columns.count):
            for offset, width in strip.parts:
                T.buffer_store(accumulators, splat(0.0, width), [run(i * strip.size + offset, width)])

        def tap(y: Expr, x: Expr) -> None:
            self.tap(accumulators, strip, (column, columns), (y, x))

        each_tap(self.window, strip.row, columns, tap, WIDE)
        program = self.spec.program
        for i in range(columns.count):
            for offset, width in strip.parts:
                index = (strip.image, strip.row, column + i, strip.channel + offset)
                value = accumulators[run(i * strip.size + offset, width)]
                done = self.function.finish(program, 2, index, value, width)
                self.function.store(2 + len(program.operands), index, done)

    def tap(self, accumulators: Any, strip: Strip, place: tuple[Expr, Columns], tap: tuple[Expr, Expr]) -> None:
        """Add the products of one window position."""
        column, columns = place
        y = row_of(self.window, strip.row, tap[0])
        for offset, width in strip.parts:
            weight = self.function.load(1, (*tap, strip.channel + offset), width)
            for i in taps_inside(self.window, columns, tap[1]):
                x = column_of(self.window, column + i, tap[1])
                value = self.function.load(0, (strip.image, y, x, strip.channel + offset), width)
                where = run(i * strip.size + offset, width)
                T.buffer_store(accumulators, accumulators[where] + value * weight, [where])
