"""Emits `Map` kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import part, transposed, unravel
from gacer_tune.kernels.emit.function import Function, address, loop, when
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.mapping import Map, MapTile, turns
from gacer_tune.kernels.tensor import ceildiv

Expr = Any


def emit(spec: Map, tile: MapTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: those of the program, then the output."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(_Emitter(function, spec, tile, machine).item)


@dataclass(frozen=True)
class _Emitter:
    """Rows are the outer axes of the output, flattened; columns its last axis, `blocks` blocks of whole vectors."""

    function: Function
    spec: Map
    tile: MapTile
    machine: Machine

    @property
    def blocks(self) -> int:
        return ceildiv(self.spec.out.shape[-1], self.tile.block)

    def item(self, number: Expr) -> None:
        block, place = (number % self.blocks, number // self.blocks) if self.blocks > 1 else (0, number)
        rows = self.spec.out.size // self.spec.out.shape[-1]
        count, begin = part(rows, self.tile.rows, place, ceildiv(rows, self.tile.rows)), place * self.tile.rows
        done: Expr = 0
        if turns(self.spec, self.machine):
            done = self.turned(begin, count, block)
            if self.spec.out.shape[-1] % self.machine.vector:
                with loop(done) as row:
                    self.tail(begin + row, block)
        if done is not count:
            with loop(count - done) as row:
                with self.vectors(block) as column:
                    self.at(begin + done + row, column, self.machine.vector)
                self.tail(begin + done + row, block)

    @contextmanager
    def vectors(self, block: Expr) -> Iterator[Expr]:
        """A loop over the first columns of the block's vectors."""
        size = self.machine.vector
        whole = self.spec.out.shape[-1] // size
        with loop(part(whole, self.tile.block // size, block, self.blocks)) as vector:
            yield block * self.tile.block + vector * size

    def tail(self, row: Expr, block: Expr) -> None:
        """What is behind the last whole vector of the row, if the block ends there."""
        last, size = self.spec.out.shape[-1], self.machine.vector

        def rest() -> None:
            with loop(last % size) as column:
                self.at(row, last // size * size + column, 1)

        if last % size:
            when(block == self.blocks - 1, rest)

    def at(self, row: Expr, column: Expr, width: int) -> None:
        place = (*unravel(row, self.spec.out.shape[:-1]), column)
        self.function.store(-1, place, self.function.finish(self.spec.program, 0, place, None, width))

    def turned(self, begin: Expr, count: Expr, block: Expr) -> Expr:
        """Rows that are done, from the first one on, as squares whose vectors lie along the rows in the operand."""
        size = self.machine.vector
        if isinstance(count, int):  # the last square may have rows of the one before it
            with loop(ceildiv(count, size)) as square:
                self.squares(begin + tirx.min(square * size, count - size), block)
            return count
        with loop(count // size) as square:
            self.squares(begin + square * size, block)
        return count // size * size

    def squares(self, row: Expr, block: Expr) -> None:
        """Of as many rows as a vector has lanes."""
        function, lanes = self.function, range(self.machine.vector)
        *outer, first = unravel(row, self.spec.out.shape[:-1])
        with self.vectors(block) as column:
            places = [address(function.tensors[0], (*outer, first, column + lane)) for lane in lanes]
            given = [T.bind(function.load_from(0, place, len(lanes), 1)) for place in places]
            for lane, value in zip(lanes, transposed(given), strict=True):
                function.store(-1, (*outer, first + lane, column), value)
