"""Emits `Pool` kernels; see gacer_tune.kernels.pool for what a variant is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import run, splat, spread
from gacer_tune.kernels.emit.function import Function, address
from gacer_tune.kernels.emit.planes import Strip, each_strip
from gacer_tune.kernels.emit.window import WIDE, column_of, each_columns, each_tap, row_of, rows_inside, taps_inside
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.pool import Pool, vector
from gacer_tune.kernels.views import part_of
from gacer_tune.kernels.window import Columns

Expr = Any
Place = tuple[Expr, Columns]  # first output column, and the run of tiles it is of


@dataclass(frozen=True, slots=True)
class Value:
    """One accumulator: its first output column and channel, counted from the tile's, its lanes, where it is kept."""

    column: int
    channel: int
    width: int
    at: int


def emit(spec: Pool, tile: PlaneTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    axes = (0, 1, 2, 3) if spec.along == "channels" else (0, 1, 3, 2)  # vectors run along the last one
    function = Function(name, [part_of(tensor, axes) for tensor in spec.tensors(machine)], machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: Pool, tile: PlaneTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.window, self.padded = spec.window, spec.padded
        self.along_columns = spec.along == "columns"

    def item(self, item: Expr) -> None:
        each_strip(self.spec.out, self.tile, vector(self.spec, self.machine), item, self.strip)

    def strip(self, strip: Strip) -> None:
        each_columns(self.window, self.tile.columns, lambda column, columns: self.block(strip, (column, columns)))

    def values(self, strip: Strip, columns: Columns) -> list[Value]:
        """One vector of columns if they are all whole, else a value for each column and vector of channels."""
        if self.along_columns and not columns.clipped and columns.count == self.machine.vector:
            return [Value(0, 0, columns.count, 0)]
        parts = [(i, *part) for i in range(columns.count) for part in strip.parts]
        return [Value(i, offset, width, i * strip.size + offset) for i, offset, width in parts]

    def block(self, strip: Strip, place: Place) -> None:
        """One tile: start, accumulate over the window, finish, store."""
        column, columns = place
        values = self.values(strip, columns)
        accumulators = T.alloc_buffer((columns.count * strip.size,), "float32", scope="local")
        for value in values:
            start = 0.0 if self.spec.kind == "avg" else float("-inf")
            T.buffer_store(accumulators, splat(start, value.width), [run(value.at, value.width)])

        def tap(y: Expr, x: Expr) -> None:
            self.tap(accumulators, strip, place, (values, y, x))

        each_tap(self.window, strip.row, columns, tap, WIDE)
        program = self.spec.program
        for value in values:
            result = accumulators[run(value.at, value.width)]
            if self.spec.kind == "avg":
                share = self.share(strip.row, columns, value.column)
                result = result * (spread(share, value.width))
            index = self.index(strip, strip.row, column + value.column, value.channel)
            done = self.function.finish(program, 1, index, result, value.width)
            self.function.store(1 + len(program.operands), index, done)

    def tap(self, accumulators: Any, strip: Strip, place: Place, tap: tuple[list[Value], Expr, Expr]) -> None:
        """Take in the values at one window position."""
        (column, columns), (values, y, x) = place, tap
        kept = taps_inside(self.window, columns, x)
        row, source = row_of(self.window, strip.row, y), self.function.tensors[0]
        for value in (v for v in values if v.column in kept):
            at = column_of(self.window, column + value.column, x)
            start = address(source, self.index(strip, row, at, value.channel))
            step = source.strides[3] * (self.window.stride[1] if self.along_columns else 1)
            found = self.function.load_from(0, start, value.width, step)
            where = run(value.at, value.width)
            before = accumulators[where]
            after = before + found if self.spec.kind == "avg" else tirx.max(before, found)
            T.buffer_store(accumulators, after, [where])

    def index(self, strip: Strip, row: Expr, column: Expr, channel: int) -> tuple[Expr, ...]:
        deep = strip.channel + channel
        return (strip.image, row, deep, column) if self.along_columns else (strip.image, row, column, deep)

    def share(self, row: Expr, columns: Columns, column: int) -> Expr:
        """One over the number of window positions that count."""
        window = self.padded if self.spec.count_include_pad else self.window
        _, rows = rows_inside(window, row)
        across = window.size[1]
        if columns.clipped:
            across = sum(column in window.inside(columns.start, columns.count, x) for x in range(window.size[1]))
        if isinstance(rows, int):
            return tirx.const(1 / max(rows * across, 1), "float32")
        return tirx.const(1.0, "float32") / scalar.cast(tirx.max(rows * across, 1), "float32")
