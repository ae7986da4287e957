"""Emits `Resize` kernels for a GPU."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.emit.runs import each_run
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile
from gacer_tune.kernels.emit.resize import between, nearest_index, neighbours, taps, weighted
from gacer_tune.kernels.resize import Resize, position

Expr = Any


def emit(spec: Resize, tile: RunTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(gpu), tile.threads)
    rows, columns = position(spec, 1), position(spec, 2)

    def nearest(index: tuple[Expr, ...], width: int) -> list[Expr]:
        image, row, column, channel = index
        y, x = (nearest_index(place.rounded(spec.rounding), i) for place, i in ((rows, row), (columns, column)))
        return function.load_run(0, (image, y, x, channel), width)

    def linear(index: tuple[Expr, ...], width: int) -> list[Expr]:
        image, row, column, channel = index
        (top, bottom, down), (left, right, across) = neighbours(rows, row), neighbours(columns, column)
        corners = [[function.load_run(0, (image, y, x, channel), width) for x in (left, right)] for y in (top, bottom)]
        found = []
        for i in range(width):
            upper, lower = (between(T.bind(pair[0][i]), T.bind(pair[1][i]), across) for pair in corners)
            found.append(between(upper, lower, down))
        return found

    def cubic(index: tuple[Expr, ...], width: int) -> list[Expr]:
        image, row, column, channel = index
        down, across = taps(spec, rows, row), taps(spec, columns, column)
        lines = [[function.load_run(0, (image, y, x, channel), width) for x, _ in across] for y, _ in down]
        return [
            weighted(down, [weighted(across, [T.bind(run[i]) for run in line]) for line in lines]) for i in range(width)
        ]

    def body(index: tuple[Expr, ...], width: int) -> None:
        values = {"nearest": nearest, "linear": linear, "cubic": cubic}[spec.mode](index, width)
        function.store_run(-1, index, function.finish_run(spec.program, 1, index, values))

    return function.build(lambda block: each_run(function, spec.out.shape, tile, block, body))
