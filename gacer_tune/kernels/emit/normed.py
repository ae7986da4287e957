"""Emits `Normed` kernels; see gacer_tune.kernels.normed for what a variant is."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.bmm import Product, begin_of
from gacer_tune.kernels.emit.function import Function, loop
from gacer_tune.kernels.emit.rows import RowWise
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.normed import Normed, NormedTile, layout

Expr = Any


def emit(spec: Normed, tile: NormedTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands as `Normed.tensors` has them."""
    function = Function(name, spec.tensors(machine), machine)

    def item(number: Expr) -> None:
        first, last = 2 + len(spec.product.program.operands), len(function.tensors) - 1
        shape, cells = layout(spec, tile, machine)
        Product(spec.product, shape, machine, function.part((*range(first), last)), cells).item(number)
        norm = RowWise(spec.norm, machine, function.part((last, *range(first, last + 1))))
        m = spec.out.shape[0]
        begin = T.bind(begin_of(number, m, tile.blocks))
        with loop(begin_of(number + 1, m, tile.blocks) - begin) as step:
            norm.normalise((begin + step,))

    return function.build(item)
