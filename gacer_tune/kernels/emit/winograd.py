"""What the two transforms of a Winograd convolution share: walking over tiles, and a 2-D transform of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import part
from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.winograd import Rows, TransformTile, apply_rows

Expr = Any
Place = tuple[Expr, Expr, Expr, Expr]  # image, tile row, tile column, first channel


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


def transform(matrix: Rows, values: list[list[Expr]]) -> list[list[Expr]]:
    """matrix @ values @ matrix.T; values by row and column, each bound to a name so that nothing is computed twice."""
    halves = [apply_rows(matrix, list(column)) for column in zip(*values, strict=True)]
    named = [[T.bind(value) for value in column] for column in halves]
    return [apply_rows(matrix, list(row)) for row in zip(*named, strict=True)]
