"""Emits `Gather` kernels; see gacer_tune.kernels.gather for what they compute."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.blocks import RowsTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import block_of, nest, sweep, unravel
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.gather import Gather, layout
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import STORED

Expr = Any


def emit(spec: Gather, tile: RowsTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: table, indices, output."""
    found = layout(spec)
    function = Function(name, found.tensors, machine)
    table, lanes = found.tensors[0], machine.vector * STORED["float32"] // STORED[found.tensors[0].dtype]
    *walked, last = found.block or (1,)
    extent = table.shape[len(found.outer)]

    def row(number: Expr) -> None:
        place = unravel(number, (*found.outer, *found.picked))
        outer, picked = place[: len(found.outer)], place[len(found.outer) :]
        at = T.bind(inside(function.load(1, picked), extent))

        def copy(index: tuple[Expr, ...]) -> None:
            if not found.block:
                function.store(2, place, function.load(0, (*outer, at)))
                return

            def vector(first: Expr, width: int) -> None:
                value = function.load(0, (*outer, at, *index, first), width)
                function.store(2, (*place, *index, first), value)

            sweep(last, lanes, vector)

        nest(walked, copy)

    def item(number: Expr) -> None:
        with block_of(found.rows, tile.rows, number) as at:
            row(at)

    return function.build(item)


def inside(index: Expr, extent: int) -> Expr:
    """The row an index means, as int32; never outside [0, extent)."""
    index = T.bind(index)
    wrapped = tirx.Select(index < scalar.like(0, index), index + scalar.like(extent, index), index)
    return scalar.cast(tirx.max(tirx.min(wrapped, scalar.like(extent - 1, index)), scalar.like(0, index)), "int32")
