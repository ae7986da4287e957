"""Emits `Lrn` kernels for a GPU."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Function, fma, local
from gacer_tune.kernels.cuda.emit.runs import each_run
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.function import when
from gacer_tune.kernels.lrn import Lrn

Expr = Any


def emit(spec: Lrn, tile: RunTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(gpu), tile.threads)
    before = (spec.size - 1) // 2

    def body(index: tuple[Expr, ...], width: int) -> None:
        *pixel, first = index
        around = local(width + spec.size - 1)  # the channels under the windows, 0 where there are none
        for i in range(width + spec.size - 1):
            channel = first + (i - before)
            T.buffer_store(around, tirx.const(0.0, "float32"), [i])
            there = tirx.And(channel >= 0, channel < spec.out.shape[-1])

            def load(i: int = i, channel: Expr = channel) -> None:
                T.buffer_store(around, function.load(0, (*pixel, channel)), [i])

            when(there, load)
        values = []
        for i in range(width):
            total: Expr = tirx.const(0.0, "float32")
            for step in range(spec.size):
                total = T.bind(fma(around[i + step], around[i + step], total))
            scale = T.bind(total * scalar.like(spec.alpha / spec.size, total) + scalar.like(spec.bias, total))
            values.append(around[i + before] / T.bind(scalar.power(scale, spec.beta)))
        function.store_run(-1, index, function.finish_run(spec.program, 1, index, values))

    return function.build(lambda block: each_run(function, spec.out.shape, tile, block, body))
