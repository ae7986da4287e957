"""Emits `Map` kernels for a GPU."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.emit.runs import each_run
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile
from gacer_tune.kernels.mapping import Map

Expr = Any


def emit(spec: Map, tile: RunTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: those of the program, then the output."""
    function = Function(name, spec.tensors(gpu), tile.threads)

    def body(index: tuple[Expr, ...], width: int) -> None:
        values = function.finish_run(spec.program, 0, index, [None] * width)
        function.store_run(len(spec.program.operands), index, values)

    return function.build(lambda block: each_run(function, spec.out.shape, tile, block, body))
