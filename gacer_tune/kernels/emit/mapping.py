"""Emits `Map` kernels."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.mapping import Map, MapTile
from gacer_tune.kernels.tensor import ceildiv

Expr = Any


def emit(spec: Map, tile: MapTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: those of the program, then the output."""
    function = Function(name, spec.tensors(machine))
    outer, last = spec.out.shape[:-1], spec.out.shape[-1]
    rows, blocks = spec.out.size // last, ceildiv(last, tile.block)

    def at(row: Expr, column: Expr, width: int) -> None:
        index: list[Expr] = []
        for extent in reversed(outer[1:]):
            index.insert(0, row % extent)
            row = row // extent
        place = [*([row] if outer else []), *index, column]
        value = function.finish(spec.program, 0, place, None, width)
        function.store(len(spec.program.operands), place, value)

    def item(number: Expr) -> None:
        block, first = (number % blocks, number // blocks * tile.rows) if blocks > 1 else (0, number * tile.rows)
        count = tile.rows if rows % tile.rows == 0 else tirx.min(tile.rows, rows - first)
        with loop(count) as row:
            whole = last // machine.vector
            if whole:
                vectors = (
                    whole
                    if blocks == 1
                    else tirx.min(tile.block // machine.vector, whole - block * tile.block // machine.vector)
                )
                with loop(vectors) as v:
                    at(first + row, block * tile.block + v * machine.vector, machine.vector)
            if last % machine.vector:
                when(block == blocks - 1, lambda: tail(first + row, whole * machine.vector))

    def tail(row: Expr, start: int) -> None:
        with loop(last - start) as column:
            at(row, start + column, 1)

    return function.build(item)
