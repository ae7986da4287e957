"""Emits `BatchMatmul` kernels; see gacer_tune.kernels.bmm for what a variant is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.bmm import BatchMatmul, BmmTile, Grid, grid
from gacer_tune.kernels.emit.ahead import Ahead, steps
from gacer_tune.kernels.emit.blocks import block_of, fetch, part, pieces, run, sized, splat, unravel
from gacer_tune.kernels.emit.fold import SUM, Fold
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.emit.scalar import lanes
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.views import merged_outer, part_of

Expr = Any
FETCHING = 3  # tiles of fewer rows read weights as fast as they come; only from memory is it worth to ask for them
AHEAD = 8  # steps before they are needed
FAR = 8  # times a core's own cache: weights that no other cache keeps from run to run, either
PANEL = 32768  # elements of packed columns: what an L2 cache holds beside the rest


@dataclass(frozen=True, slots=True)
class Place:
    """Indices of the product in the batch, the first row and first column of a register tile, and its number among
    those of a block that have these columns."""

    batch: tuple[Expr, ...]
    row: Expr
    column: Expr
    turn: Expr = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows, columns and accumulator vectors of a register tile, and the panel its columns are packed in."""

    rows: int
    columns: int
    vectors: int
    panel: Any = None


def emit(spec: BatchMatmul, tile: BmmTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: left, right, operands of the program, output."""
    left, right, *rest = spec.tensors(machine)
    if spec.folded:
        right = part_of(right, (*range(len(right.shape) - 2), -1, -2))
    if spec.constant:
        left, *rest = merged_outer([left, *rest], 2)
    else:
        left, right, *rest = merged_outer([left, right, *rest], 2)
    function = Function(name, [left, right, *rest], machine)
    return function.build(Product(spec, tile, machine, function, grid(spec, tile, machine)).item)


class Product:
    """Emits products as `emit` does; of a kernel that does more than that, too."""

    def __init__(self, spec: BatchMatmul, tile: BmmTile, machine: Machine, function: Function, cells: Grid) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.grid = cells
        _, self.m, self.n, self.k = spec.extents
        self.panel: Any = None
        self.chunk = min(self.k, PANEL // (tile.vectors * machine.vector))

    def item(self, item: Expr) -> None:
        columns, rest = item % self.grid.column_blocks, item // self.grid.column_blocks
        rows, product = rest % self.grid.row_blocks, rest // self.grid.row_blocks
        batch = unravel(product, self.function.tensors[-1].shape[:-2])
        size = self.tile.vectors * self.machine.vector
        if self.spec.folded:
            self.rows(Place(batch, 0, 0), rows, self.fold)
            return
        if not self.spec.constant and (self.tile.packed or self.n % self.machine.vector):
            self.panel = T.alloc_buffer((self.chunk * size,), "float32", scope="local")
        with block_of(self.grid.wide, self.tile.wide, columns) as number:
            place = Place(batch, 0, number * size)
            sized(number, self.n, size, lambda count: self.column(place, rows, count))

    def column(self, place: Place, rows: Expr, columns: int) -> None:
        """All row tiles of a block over one column tile, whose columns are packed once if there is room."""
        vectors = ceildiv(columns, self.machine.vector)
        scratch = not self.spec.constant and (self.tile.packed or columns % self.machine.vector)
        panel = self.panel if scratch else None
        if panel is not None and self.chunk == self.k:
            self.pack(panel, place, columns, (0, self.k))
        self.rows(place, rows, lambda at, count: self.block(at, Shape(count, columns, vectors, panel)))

    def fold(self, place: Place, rows: int) -> None:
        """Each row times the only column."""
        with loop(rows) as step:
            row, folding = place.row + step, Fold(SUM, self.k, self.machine.vector)

            def term(first: Expr, width: int) -> Expr:
                left = self.function.load(0, (*place.batch, row, first), width)
                return left * self.function.load(1, (*place.batch, 0, first), width)

            folding.take(term)
            self.finish(Place(place.batch, row, 0), 0, 0, T.bind(folding.result()))

    def rows(self, place: Place, block: Expr, body: Callable[[Place, int], None]) -> None:
        """Run body(place, rows) for each row tile of a block."""
        span = (block, self.tile.high, self.grid.row_blocks)

        def tile(row: Expr, count: int, turn: Expr) -> None:
            body(Place(place.batch, row, place.column, turn), count)

        row_tiles(self.m, self.grid.high, span, tile)

    def pack(self, panel: Any, place: Place, columns: int, span: tuple[Expr, Expr]) -> None:
        """Copy the columns' elements of `count` rows from `first` on; lanes past the last column become 0."""
        vector, (first, count) = self.machine.vector, span
        width = ceildiv(columns, vector) * vector
        with loop(count) as k:
            if columns < width:
                T.buffer_store(panel, splat(0.0, vector), [T.ramp(k * width + width - vector, 1, vector)])
            for column, some in pieces(0, columns, vector):
                value = self.function.load(1, (*place.batch, first + k, place.column + column), some)
                T.buffer_store(panel, value, [run(k * width + column, some)])

    def block(self, place: Place, shape: Shape) -> None:
        """One register tile: zero, accumulate, finish, store."""
        accumulators = zeros(shape.rows * shape.vectors, self.machine.vector)
        if shape.panel is None or self.chunk == self.k:
            self.reduce(accumulators, place, shape, (0, self.k))
        else:
            chunks = ceildiv(self.k, self.chunk)
            with loop(chunks) as chunk:
                span = (chunk * self.chunk, part(self.k, self.chunk, chunk, chunks))
                self.pack(shape.panel, place, shape.columns, span)
                self.reduce(accumulators, place, shape, span)
        self.store(accumulators, place, shape)

    def reduce(self, accumulators: Any, place: Place, shape: Shape, span: tuple[Expr, Expr]) -> None:
        first, count = span

        def right(k: Expr, v: int) -> Expr:
            if v == 0 and self.needy(shape):
                self.ask(place, shape, k)
            return self.columns(place, shape, first, k, v)

        def left(i: int, k: Expr) -> Expr:
            return self.function.load(0, (*place.batch, place.row + i, first + k))

        tile, ahead = (shape.rows, shape.vectors, self.machine.vector), self.ahead(place, shape)
        add_products(accumulators, tile, count, left, right, ahead)

    def columns(self, place: Place, shape: Shape, first: Expr, k: Expr, v: int) -> Expr:
        """Vector v of row first + k of the right matrix."""
        vector = self.machine.vector
        if self.spec.constant:
            return self.function.buffers[1][T.ramp(self.weight(place, k, v // 2) + v % 2 * vector, 1, vector)]
        if shape.panel is None:
            return self.function.load(1, (*place.batch, first + k, place.column + v * vector), vector)
        return shape.panel[T.ramp((k * shape.vectors + v) * vector, 1, vector)]

    def weight(self, place: Place, k: Expr, block: int) -> Expr:
        """Where a pack of weights begins, `block` packs behind the first one of a column tile."""
        pack = self.machine.pack
        return ((place.column // pack + block) * self.k + k) * pack

    def ahead(self, place: Place, shape: Shape) -> Ahead | None:
        """Asks for the weights of the next column tile, which come from far away the first time they are read."""
        again = self.tile.high == 1 and self.grid.row_blocks > 2  # most blocks find them in a cache
        if not self.spec.constant or shape.rows < FETCHING or again:
            return None
        full = (shape.rows + 2) * shape.vectors >= self.machine.registers
        blocks = ceildiv(shape.vectors, 2)
        first, size = self.weight(place, 0, blocks), blocks * self.machine.pack
        return Ahead(self.function.buffers[1], first, size, self.tile.high, place.turn, 1, self.k, full)

    def needy(self, shape: Shape) -> bool:
        """Whether the few rows of a tile read weights as fast as memory has them."""
        return self.spec.constant and shape.rows < FETCHING and self.spec.right.nbytes > FAR * self.machine.l2

    def ask(self, place: Place, shape: Shape, k: Expr) -> None:
        """Ask for the tile's own weights."""
        for block in range(ceildiv(shape.vectors, 2)):
            fetch(self.function.buffers[1], self.weight(place, k + AHEAD, block), self.machine.pack)

    def store(self, accumulators: Any, place: Place, shape: Shape) -> None:
        tile = (shape.rows, shape.vectors, self.machine.vector)
        each_vector(accumulators, tile, shape.columns, lambda i, column, value: self.finish(place, i, column, value))

    def finish(self, place: Place, row: Expr, column: int, value: Expr) -> None:
        index, program = (*place.batch, place.row + row, place.column + column), self.spec.program
        done = self.function.finish(program, 2, index, value, lanes(value))
        self.function.store(2 + len(program.operands), index, done)


Tile = tuple[int, int, int]  # rows and vectors of a register tile, lanes of a vector


def row_tiles(extent: int, tiles: int, block: tuple[Expr, int, int], body: Callable[[Expr, int, Expr], None]) -> None:
    """Run body(first, rows, number in the block) for each tile in a block of them.

    block is (its number, tiles in it, number of blocks).
    """
    number, some, blocks = block
    least, larger = divmod(extent, tiles)
    with loop(part(tiles, some, number, blocks)) as step:
        tile = number * some + step
        first = T.bind(begin_of(tile, extent, tiles))
        if larger:
            behind = begin_of(tile + 1, extent, tiles)
            when(behind - first > least, lambda: body(first, least + 1, step), lambda: body(first, least, step))
        else:
            body(first, least, step)


def begin_of(tile: Expr, extent: int, tiles: int) -> Expr:
    """Where one of so many tiles of an extent begins, as even as they can be."""
    return tile * extent // tiles


def zeros(vectors: int, vector: int) -> Any:
    """Accumulators of a register tile."""
    found = T.alloc_buffer((vectors * vector,), "float32", scope="local")
    for i in range(vectors):
        T.buffer_store(found, splat(0.0, vector), [run(i * vector, vector)])
    return found


def add_products(
    accumulators: Any, tile: Tile, count: Expr, left: Callable[[int, Expr], Expr], right: Callable[[Expr, int], Expr],
    ahead: Ahead | None = None,
) -> None:  # fmt: skip
    """Add left(row, k) * right(k, number of the vector) for each k below count, in order."""
    rows, vectors, vector = tile

    def step(k: Expr) -> None:
        columns = [right(k, v) for v in range(vectors)]
        for i in range(rows):
            value = T.broadcast(left(i, k), vector)
            for v, column in enumerate(columns):
                where = run((i * vectors + v) * vector, vector)
                T.buffer_store(accumulators, accumulators[where] + value * column, [where])

    steps(count, step, ahead)


def each_vector(accumulators: Any, tile: Tile, columns: int, body: Callable[[Expr, int, Expr], None]) -> None:
    """Run body(row, column, value) for vectors that cover the first `columns` columns of a register tile."""
    rows, vectors, vector = tile
    whole, rest = divmod(columns, vector)
    for i in range(rows):
        for v in range(whole):
            body(i, v * vector, accumulators[run((i * vectors + v) * vector, vector)])
    if not rest:
        return
    last = T.alloc_buffer((rows * vector,), "float32", scope="local")
    for i in range(rows):
        T.buffer_store(last, accumulators[run((i * vectors + whole) * vector, vector)], [run(i * vector, vector)])
    with loop(rows) as i:
        for column, width in pieces(0, rest, vector):
            body(i, whole * vector + column, last[run(i * vector + column, width)])
