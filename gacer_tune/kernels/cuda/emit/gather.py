"""Emits `Gather` kernels for a GPU."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.emit.runs import each_run
from gacer_tune.kernels.cuda.gather import shape
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile
from gacer_tune.kernels.emit.gather import inside
from gacer_tune.kernels.gather import Gather, layout

Expr = Any


def emit(spec: Gather, tile: RunTile, gpu: Gpu, name: str) -> tirx.PrimFunc:  # noqa: ARG001 - the same for all
    """Operands: table, indices, output."""
    found = layout(spec)
    function = Function(name, found.tensors, tile.threads)
    outer, picked = len(found.outer), len(found.outer) + len(found.picked)
    extent = found.tensors[0].shape[outer]

    def body(index: tuple[Expr, ...], width: int) -> None:
        if not found.block:
            index = index[:-1]
        row = T.bind(inside(function.load(1, index[outer:picked]), extent))
        source = (*index[:outer], row, *index[picked:])
        if width == 1:
            function.store(2, index, function.load(0, source))
        else:
            function.store_run(2, index, function.load_run(0, source, width))

    return function.build(lambda block: each_run(function, shape(spec), tile, block, body))
