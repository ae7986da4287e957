"""Emits `BatchMatmul` kernels; see gacer_tune.kernels.bmm for what a variant is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.bmm import BatchMatmul, BmmTile, grid
from gacer_tune.kernels.emit.blocks import part, pieces, run, unravel
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.emit.scalar import lanes
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.views import merged_outer

Expr = Any
PANEL = 32768  # elements of packed columns: what an L2 cache holds beside the rest


@dataclass(frozen=True, slots=True)
class Place:
    """Indices of the product in the batch, and the first row and first column of a register tile."""

    batch: tuple[Expr, ...]
    row: Expr
    column: Expr


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows, columns and accumulator vectors of a register tile, and the panel its columns are packed in."""

    rows: int
    columns: int
    vectors: int
    panel: Any = None


def emit(spec: BatchMatmul, tile: BmmTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: left, right, operands of the program, output."""
    function = Function(name, merged_outer(spec.tensors(machine), 2))
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: BatchMatmul, tile: BmmTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.grid = grid(spec, tile, machine)
        _, self.m, self.n, self.k = spec.extents
        self.panel: Any = None
        self.chunk = min(self.k, PANEL // (tile.vectors * machine.vector))

    def item(self, item: Expr) -> None:
        columns, rest = item % self.grid.column_blocks, item // self.grid.column_blocks
        rows, product = rest % self.grid.row_blocks, rest // self.grid.row_blocks
        batch = unravel(product, self.function.tensors[-1].shape[:-2])
        size = self.tile.vectors * self.machine.vector
        last = self.n - (self.grid.wide - 1) * size
        if self.tile.packed or last % self.machine.vector:
            self.panel = T.alloc_buffer((self.chunk * size,), "float32", scope="local")
        with loop(part(self.grid.wide, self.tile.wide, columns, self.grid.column_blocks)) as step:
            number = columns * self.tile.wide + step
            place = Place(batch, rows * self.tile.high * self.tile.rows, number * size)
            if last == size:
                self.column(place, rows, size)
            elif self.grid.wide == 1:
                self.column(place, rows, last)
            else:
                tail = number == self.grid.wide - 1
                when(tail, lambda: self.column(place, rows, last), lambda: self.column(place, rows, size))

    def column(self, place: Place, rows: Expr, columns: int) -> None:
        """All row tiles of a block over one column tile, whose columns are packed once if there is room."""
        vectors = -(-columns // self.machine.vector)
        panel = self.panel if self.tile.packed or columns % self.machine.vector else None
        if panel is not None and self.chunk == self.k:
            self.pack(panel, place, columns, (0, self.k))
        self.rows(place, rows, lambda at, count: self.block(at, Shape(count, columns, vectors, panel)))

    def rows(self, place: Place, block: Expr, body: Callable[[Place, int], None]) -> None:
        full, rest = divmod(self.m, self.tile.rows)
        if full:
            with loop(part(full, self.tile.high, block, self.grid.row_blocks)) as step:
                body(Place(place.batch, place.row + step * self.tile.rows, place.column), self.tile.rows)
        if rest and self.grid.row_blocks == 1:
            body(Place(place.batch, full * self.tile.rows, place.column), rest)
        elif rest:
            last = Place(place.batch, full * self.tile.rows, place.column)
            when(block == self.grid.row_blocks - 1, lambda: body(last, rest))

    def pack(self, panel: Any, place: Place, columns: int, span: tuple[Expr, Expr]) -> None:
        """Copy the columns' elements of `count` rows from `first` on; lanes past the last column become 0."""
        vector, (first, count) = self.machine.vector, span
        width = -(-columns // vector) * vector
        with loop(count) as k:
            if columns < width:
                zero = T.broadcast(tirx.const(0.0, "float32"), vector)
                T.buffer_store(panel, zero, [T.ramp(k * width + width - vector, 1, vector)])
            for column, some in pieces(0, columns, vector):
                value = self.function.load(1, (*place.batch, first + k, place.column + column), some)
                T.buffer_store(panel, value, [run(k * width + column, some)])

    def block(self, place: Place, shape: Shape) -> None:
        """One register tile: zero, accumulate, finish, store."""
        vector = self.machine.vector
        accumulators = T.alloc_buffer((shape.rows * shape.vectors * vector,), "float32", scope="local")
        zero = T.broadcast(tirx.const(0.0, "float32"), vector)
        for i in range(shape.rows * shape.vectors):
            T.buffer_store(accumulators, zero, [T.ramp(i * vector, 1, vector)])
        if shape.panel is None or self.chunk == self.k:
            self.reduce(accumulators, place, shape, (0, self.k))
        else:
            chunks = -(-self.k // self.chunk)
            with loop(chunks) as chunk:
                span = (chunk * self.chunk, part(self.k, self.chunk, chunk, chunks))
                self.pack(shape.panel, place, shape.columns, span)
                self.reduce(accumulators, place, shape, span)
        self.store(accumulators, place, shape)

    def reduce(self, accumulators: Any, place: Place, shape: Shape, span: tuple[Expr, Expr]) -> None:
        vector, (first, count) = self.machine.vector, span
        with loop(count) as k:
            columns = [self.columns(place, shape, first, k, v) for v in range(shape.vectors)]
            for i in range(shape.rows):
                value = T.broadcast(self.function.load(0, (*place.batch, place.row + i, first + k)), vector)
                for v, column in enumerate(columns):
                    where = T.ramp((i * shape.vectors + v) * vector, 1, vector)
                    T.buffer_store(accumulators, accumulators[where] + value * column, [where])

    def columns(self, place: Place, shape: Shape, first: Expr, k: Expr, v: int) -> Expr:
        """Vector v of row first + k of the right matrix."""
        vector = self.machine.vector
        if shape.panel is None:
            return self.function.load(1, (*place.batch, first + k, place.column + v * vector), vector)
        return shape.panel[T.ramp((k * shape.vectors + v) * vector, 1, vector)]

    def store(self, accumulators: Any, place: Place, shape: Shape) -> None:
        vector = self.machine.vector
        whole, rest = divmod(shape.columns, vector)
        for i in range(shape.rows):
            for v in range(whole):
                value = accumulators[T.ramp((i * shape.vectors + v) * vector, 1, vector)]
                self.finish(place, i, v * vector, value)
        if not rest:
            return
        last = T.alloc_buffer((shape.rows * vector,), "float32", scope="local")
        for i in range(shape.rows):
            value = accumulators[T.ramp((i * shape.vectors + whole) * vector, 1, vector)]
            T.buffer_store(last, value, [T.ramp(i * vector, 1, vector)])
        with loop(shape.rows) as i:
            for column, width in pieces(0, rest, vector):
                self.finish(place, i, whole * vector + column, last[run(i * vector + column, width)])

    def finish(self, place: Place, row: Expr, column: int, value: Expr) -> None:
        index, program = (*place.batch, place.row + row, place.column + column), self.spec.program
        done = self.function.finish(program, 2, index, value, lanes(value))
        self.function.store(2 + len(program.operands), index, done)
