"""Emits `Pool` kernels for a GPU."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Function, local
from gacer_tune.kernels.cuda.emit.runs import each_run
from gacer_tune.kernels.cuda.emit.window import place, taps
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.pool import Pool

Expr = Any


def emit(spec: Pool, tile: RunTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(gpu), tile.threads)
    window = spec.window

    def body(index: tuple[Expr, ...], width: int) -> None:
        image, row, column, channel = index
        values = local(width)
        for i in range(width):
            T.buffer_store(values, tirx.const(0.0 if spec.kind == "avg" else float("-inf"), "float32"), [i])
        (top, rows), (left, columns) = taps(window, 0, row), taps(window, 1, column)
        with loop(rows) as y, loop(columns) as x:
            at = (image, place(window, 0, row, top + y), place(window, 1, column, left + x), channel)
            for i, found in enumerate(function.load_run(0, at, width)):
                after = values[i] + found if spec.kind == "avg" else tirx.max(values[i], found)
                T.buffer_store(values, after, [i])
        results: list[Expr] = [values[i] for i in range(width)]
        if spec.kind == "avg":
            share = T.bind(one_over_taps(spec, row, column))
            results = [value * share for value in results]
        done = function.finish_run(spec.program, 1, index, results)
        function.store_run(1 + len(spec.program.operands), index, done)

    return function.build(lambda block: each_run(function, spec.out.shape, tile, block, body))


def one_over_taps(spec: Pool, row: Expr, column: Expr) -> Expr:
    """One over the number of window positions that count."""
    window = spec.padded if spec.count_include_pad else spec.window
    count = taps(window, 0, row)[1] * taps(window, 1, column)[1]
    if isinstance(count, int):
        return tirx.const(1 / max(count, 1), "float32")
    return tirx.const(1.0, "float32") / scalar.cast(tirx.max(count, 1), "float32")
