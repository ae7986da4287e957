"""Emits `Map` kernels."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit.blocks import block_of, part, unravel
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.mapping import Map, MapTile
from gacer_tune.kernels.tensor import ceildiv

Expr = Any


def emit(spec: Map, tile: MapTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: those of the program, then the output."""
    function = Function(name, spec.tensors(machine), machine)
    outer, last = spec.out.shape[:-1], spec.out.shape[-1]
    rows, blocks = spec.out.size // last, ceildiv(last, tile.block)
    whole, vectors = last // machine.vector, tile.block // machine.vector

    def at(row: Expr, column: Expr, width: int) -> None:
        place = (*unravel(row, outer), column)
        value = function.finish(spec.program, 0, place, None, width)
        function.store(-1, place, value)

    def tail(row: Expr) -> None:
        with loop(last - whole * machine.vector) as column:
            at(row, whole * machine.vector + column, 1)

    def item(number: Expr) -> None:
        block, place = (number % blocks, number // blocks) if blocks > 1 else (0, number)
        with block_of(rows, tile.rows, place) as row:
            with loop(part(whole, vectors, block, blocks)) as v:
                at(row, block * tile.block + v * machine.vector, machine.vector)
            if last % machine.vector:
                when(block == blocks - 1, lambda: tail(row))

    return function.build(item)
