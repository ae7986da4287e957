"""Emits `Attention` kernels; see gacer_tune.kernels.attention for what they compute."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.attention import VECTORS, Attention, AttentionTile, padded, tiles, width
from gacer_tune.kernels.emit import blocks, scalar
from gacer_tune.kernels.emit.blocks import Parts, run, splat, spread, transposed, unravel
from gacer_tune.kernels.emit.bmm import add_products, each_vector, row_tiles, zeros
from gacer_tune.kernels.emit.fold import SUM, Fold, largest
from gacer_tune.kernels.emit.function import Function, address, loop
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.views import merged_outer

Expr = Any
KEYS, VALUES, SCORES = 1, 2, 3  # operands; those of the program of the scores come last but one


def emit(spec: Attention, tile: AttentionTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: query, keys, values, operands of the scores' program, output."""
    function = Function(name, merged_outer(spec.tensors(machine), 2), machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: Attention, tile: AttentionTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.vector, self.width = machine.vector, width(machine)
        _, self.m, self.n, self.d, self.e = spec.extents
        self.pitch = padded(self.n, machine)
        self.batch: tuple[Expr, ...] = ()
        self.keys: Any = None
        self.values: Any = None
        self.scores: Any = None

    def item(self, item: Expr) -> None:
        count = tiles(self.spec, self.tile)
        heads, row_blocks = self.spec.extents[0], ceildiv(count, self.tile.high)
        self.batch = unravel(item % heads, self.function.tensors[-1].shape[:-2])
        self.keys, self.values = self.packed(KEYS, self.d, self.n), self.packed(VALUES, self.n, self.e)
        self.scores = T.alloc_buffer((self.tile.rows * self.pitch,), "float32", scope="local")
        span = (item // heads, self.tile.high, row_blocks)
        row_tiles(self.m, count, span, lambda first, rows, _: self.rows(first, rows))

    def packed(self, operand: int, depth: int, columns: int) -> Any:
        """A matrix in scratch as (tiles of columns, depth, columns of a tile), zeros behind the last column."""
        panel = T.alloc_buffer((depth * padded(columns, self.machine),), "float32", scope="local")
        strides = self.function.tensors[operand].strides
        turned = strides[-2] == 1 != strides[-1] and depth % self.vector == 0

        def tile(first: Expr, parts: Parts) -> None:
            for offset in range(sum(count for _, count in parts) // self.vector * self.vector, self.width, self.vector):
                with loop(depth) as k:
                    where = run(first * depth + k * self.width + offset, self.vector)
                    T.buffer_store(panel, splat(0.0, self.vector), [where])
            for offset, count in parts:
                copy = self.turn if turned and count == self.vector else self.copy
                copy(panel, operand, depth, (first, offset, count))

        blocks.tiles(columns, self.width, self.vector, (0, ceildiv(columns, self.width)), tile)
        return panel

    def copy(self, panel: Any, operand: int, depth: int, place: tuple[Expr, int, int]) -> None:
        """Columns of a tile, as (its first column, offset of the first of them, how many), row by row."""
        first, offset, count = place
        with loop(depth) as k:
            value = self.function.load(operand, (*self.batch, k, first + offset), count)
            T.buffer_store(panel, value, [run(first * depth + k * self.width + offset, count)])

    def turn(self, panel: Any, operand: int, depth: int, place: tuple[Expr, int, int]) -> None:
        """The same for a matrix whose columns are neighbours in memory, a square at a time."""
        (first, offset, count), tensor = place, self.function.tensors[operand]
        with loop(depth // count) as square:
            k = square * count
            columns = []
            for i in range(count):
                at = address(tensor, (*self.batch, k, first + offset + i))
                columns.append(T.bind(self.function.load_from(operand, at, count, 1)))
            for i, row in enumerate(transposed(columns)):
                T.buffer_store(panel, row, [run(first * depth + (k + i) * self.width + offset, count)])

    def rows(self, row: Expr, count: int) -> None:
        """A tile of rows, from the query to the output."""
        shape = (count, VECTORS, self.vector)
        with loop(self.pitch // self.width) as step:
            sums = zeros(count * VECTORS, self.vector)

            def query(i: int, k: Expr) -> Expr:
                return self.function.load(0, (*self.batch, row + i, k))

            add_products(sums, shape, self.d, query, lambda k, v: self.column(self.keys, self.d, step, k, v))

            def keep(i: Expr, column: int, value: Expr) -> None:
                T.buffer_store(self.scores, value, [run(i * self.pitch + step * self.width + column, self.vector)])

            each_vector(sums, shape, self.width, keep)
        shares = T.alloc_buffer((count,), "float32", scope="local")
        with loop(count) as i:
            T.buffer_store(shares, self.softmax(row, i), [i])
        parts = (0, ceildiv(self.e, self.width))
        blocks.tiles(self.e, self.width, self.vector, parts, lambda c, some: self.output((row, c), count, some, shares))

    def column(self, panel: Any, depth: int, tile: Expr, k: Expr, v: int) -> Expr:
        """Vector v of row k in a tile of columns of a packed matrix."""
        return panel[run((tile * depth + k) * self.width + v * self.vector, self.vector)]

    def softmax(self, row: Expr, i: Expr) -> Expr:
        """Turn a row of scores into exponentials; one over their sum."""

        def place(first: Expr, some: int) -> Expr:
            return run(i * self.pitch + first, some)

        def finished(first: Expr, some: int) -> Expr:
            raw, index = T.bind(self.scores[place(first, some)]), (*self.batch, row + i, first)
            value = T.bind(self.function.finish(self.spec.scores, SCORES, index, raw, some))
            if self.spec.scores.steps:
                T.buffer_store(self.scores, value, [place(first, some)])
            return value

        tops = Fold(largest("float32"), self.n, self.vector)
        tops.take(finished)
        top = T.bind(tops.result())

        def exponential(first: Expr, some: int) -> Expr:
            value = T.bind(scalar.exp(T.bind(self.scores[place(first, some)] - spread(top, some))))
            T.buffer_store(self.scores, value, [place(first, some)])
            return value

        total = Fold(SUM, self.n, self.vector)
        total.take(exponential)
        return tirx.const(1.0, "float32") / total.result()

    def output(self, place: tuple[Expr, Expr], count: int, parts: Parts, shares: Any) -> None:
        """The products of a tile of rows with a tile of the values' columns."""
        row, first = place
        shape, sums = (count, VECTORS, self.vector), zeros(count * VECTORS, self.vector)

        def weight(i: int, k: Expr) -> Expr:
            return self.scores[i * self.pitch + k]

        tile = first // self.width
        add_products(sums, shape, self.n, weight, lambda k, v: self.column(self.values, self.n, tile, k, v))

        def write(i: Expr, column: int, value: Expr) -> None:
            done = value * spread(shares[i], scalar.lanes(value))
            self.function.store(-1, (*self.batch, row + i, first + column), done)

        each_vector(sums, shape, sum(some for _, some in parts), write)
