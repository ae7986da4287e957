"""Emits `Gates` kernels; see gacer_tune.kernels.gates for what they compute."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit.blocks import block_of, pieces, run, sized
from gacer_tune.kernels.emit.bmm import add_products, row_tiles, zeros
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.gates import Gates, GatesTile, tiles
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import ceildiv

Expr = Any


def emit(spec: Gates, tile: GatesTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: left, packed weights, operands of the program, outputs."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


class _Emitter:
    def __init__(self, spec: Gates, tile: GatesTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.vector, (self.m, self.units) = machine.vector, spec.out.shape

    def item(self, item: Expr) -> None:
        with block_of(tiles(self.spec, self.tile, self.machine), self.tile.wide, item) as tile:
            sized(tile, self.units, self.tile.blocks * self.vector, lambda units: self.rows(tile, units))

    def rows(self, tile: Expr, units: int) -> None:
        """All rows of a tile of units."""
        span = (0, ceildiv(self.m, self.tile.rows), 1)
        row_tiles(self.m, span[1], span, lambda row, count, _: self.block(tile, row, count, units))

    def block(self, tile: Expr, row: Expr, count: int, units: int) -> None:
        """One register tile: zero, accumulate, make the new state, store."""
        (m_rows, parts), depth = (count, self.spec.parts), self.spec.left.shape[1]
        vectors = self.tile.blocks * parts
        sums = zeros(m_rows * vectors, self.vector)

        def left(i: int, k: Expr) -> Expr:
            return self.function.load(0, (row + i, k))

        def right(k: Expr, v: int) -> Expr:
            place = ((tile * self.tile.blocks + v // parts) * depth + k) * parts + v % parts
            return self.function.buffers[1][run(place * self.vector, self.vector)]

        add_products(sums, (m_rows, vectors, self.vector), depth, left, right)
        for i in range(m_rows):
            for first, width in pieces(0, units, self.vector):
                block, inside = divmod(first, self.vector)
                gates = [
                    sums[run(((i * self.tile.blocks + block) * parts + p) * self.vector + inside, width)]
                    for p in range(parts)
                ]
                self.finish((row + i, tile * self.tile.blocks * self.vector + first), gates, width)

    def finish(self, index: tuple[Expr, Expr], gates: list[Expr], width: int) -> None:
        """Run the program on all gates of some units and store its results."""
        made = self.function.steps(self.spec.program, 2, index, gates, width)
        for number, result in enumerate(self.spec.results, start=2 + len(self.spec.program.operands)):
            self.function.store(number, index, made[result])
