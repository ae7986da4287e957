"""What the kernels of a Winograd convolution share: walking over tiles, and the two transforms of a vector of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Protocol

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import part, splat
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.emit.scalar import lanes
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import Tensor, ceildiv
from gacer_tune.kernels.winograd import Filtering, Rows, TransformTile, apply_rows

Expr = Any
Place = tuple[Expr, Expr, Expr, Expr]  # image, tile row, tile column, first channel


class Reading(Protocol):
    """A kernel that reads an image, its first operand."""

    @property
    def source(self) -> Tensor: ...
    @property
    def way(self) -> Filtering: ...
    @property
    def pad(self) -> tuple[int, int]: ...


class Writing(Protocol):
    """A kernel that writes an image, its last operand, after those of the program: pooled, if pool is not 1."""

    @property
    def out(self) -> Tensor: ...
    @property
    def way(self) -> Filtering: ...
    @property
    def program(self) -> Program: ...
    @property
    def pool(self) -> int: ...


def over_tiles(
    grid: tuple[int, int, int], tile: TransformTile, machine: Machine, body: Callable[[Place], None]
) -> Callable[[Expr], None]:
    """grid: tile rows of an image, tile columns, channels. Return the emitter of one item."""
    rows, columns, channels = grid
    vectors = channels // machine.vector
    blocks = ceildiv(vectors, tile.vectors)

    def item(number: Expr) -> None:
        block, row = number % blocks, number // blocks
        with loop(columns) as column, loop(part(vectors, tile.vectors, block, blocks)) as v:
            body((row // rows, row % rows, column, (block * tile.vectors + v) * machine.vector))

    return item


def image_tile(function: Function, spec: Reading, place: Place, width: int) -> list[Expr]:
    """The transform of one tile of the image, `width` channels of each point; zeros beyond the edges."""
    (m, size), (height, breadth) = (spec.way.m, spec.way.extent), spec.source.shape[1:3]
    image, row, column, channel = place
    top, left = row * m - spec.pad[0], column * m - spec.pad[1]
    patch = T.alloc_buffer((size * size * width,), "float32", scope="local")

    def at(y: Expr, x: Expr) -> Expr:
        return T.ramp((y * size + x) * width, 1, width)

    def read(y: Expr, x: Expr) -> None:
        T.buffer_store(patch, function.load(0, (image, top + y, left + x, channel), width), [at(y, x)])

    def whole() -> None:
        for y in range(size):
            for x in range(size):
                read(y, x)

    def clipped() -> None:
        with loop(size) as y, loop(size) as x:
            inside = tirx.all(top + y >= 0, top + y < height, left + x >= 0, left + x < breadth)
            when(inside, lambda: read(y, x), lambda: T.buffer_store(patch, splat(0.0, width), [at(y, x)]))

    when(tirx.all(top >= 0, top + size <= height, left >= 0, left + size <= breadth), whole, clipped)
    values = [[T.bind(patch[at(y, x)]) for x in range(size)] for y in range(size)]
    return [value for line in transform(spec.way.image, values) for value in line]


def put_tile(function: Function, spec: Writing, place: Place, product: Callable[[int], Expr], first: int) -> None:
    """Transform product(point), vectors, back to a tile of the image, finish, pool and store what lies inside of it.

    first: the operand that is the first one of the program.
    """
    (m, size), (height, breadth) = (spec.way.m, spec.way.extent), spec.out.shape[1:3]
    image, row, column, channel = place
    values = [[T.bind(product(y * size + x)) for x in range(size)] for y in range(size)]
    results = [[T.bind(value) for value in line] for line in transform(spec.way.output, values)]
    kept = m // spec.pool

    def finished(y: int, x: int) -> Expr:
        value = results[y][x]
        return function.finish(spec.program, first, (image, row * m + y, column * m + x, channel), value, lanes(value))

    def put(y: int, x: int) -> None:
        window = [(y * spec.pool + i, x * spec.pool + j) for i in range(spec.pool) for j in range(spec.pool)]
        largest = reduce(tirx.max, [finished(*at) for at in window])
        index = (image, row * kept + y, column * kept + x, channel)
        function.store(first + len(spec.program.operands), index, largest)

    for y in range(kept):
        for x in range(kept):
            checks = []
            if height % kept > 0 and y >= height % kept:
                checks.append(row * kept + y < height)
            if breadth % kept > 0 and x >= breadth % kept:
                checks.append(column * kept + x < breadth)
            if checks:
                when(tirx.all(*checks), partial(put, y, x))
            else:
                put(y, x)


def transform(matrix: Rows, values: list[list[Expr]]) -> list[list[Expr]]:
    """matrix @ values @ matrix.T; values by row and column, each bound to a name so that nothing is computed twice."""
    halves = [apply_rows(matrix, list(column)) for column in zip(*values, strict=True)]
    named = [[T.bind(value) for value in column] for column in halves]
    return [apply_rows(matrix, list(row)) for row in zip(*named, strict=True)]
