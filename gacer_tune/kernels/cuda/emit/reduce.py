"""Emits `Reduce` kernels for a GPU."""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import tirx

from gacer_tune.kernels.cuda.emit.fold import Accumulators, each_turn, fold_neighbours, fold_strided
from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.reduce import ReduceTile, layout_of, shares
from gacer_tune.kernels.emit.blocks import unravel
from gacer_tune.kernels.emit.function import when
from gacer_tune.kernels.emit.reduce import monoid_of, result_of, term_of
from gacer_tune.kernels.reduce import Reduce
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Index = tuple[Expr, ...]


def emit(spec: Reduce, tile: ReduceTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    found = layout_of(spec, gpu)
    function = Function(name, found.tensors, tile.threads)
    emitter = _Emitter(spec, tile, gpu, function)
    return function.build(emitter.lanes if found.lanes else emitter.rows)


class _Emitter:
    def __init__(self, spec: Reduce, tile: ReduceTile, gpu: Gpu, function: Function) -> None:
        self.spec, self.tile, self.function, self.layout = spec, tile, function, layout_of(spec, gpu)
        self.dtype = "float32" if spec.source.dtype == "float16" else spec.source.dtype
        self.monoid = monoid_of(spec.kind, self.dtype)

    def rows(self, block: Expr) -> None:
        """Each result by neighbouring threads, which take runs of elements in turn."""
        tile, found = self.tile, self.layout
        number, there = self.share(block * (tile.threads // tile.split) + self.function.thread // tile.split)
        row, total = unravel(number, found.kept), Accumulators(self.monoid, 1, self.dtype)
        *outer, last = found.reduced
        runs = (*outer, last // tile.width)

        def add(sums: Accumulators, turn: Expr) -> None:
            *index, run = unravel(turn, runs)
            for value in self.function.load_run(0, (*row, *index, run * tile.width), tile.width):
                sums.add(0, term_of(self.spec, value, self.dtype))

        each_turn(total, prod(runs), (self.function.thread % tile.split, tile.split), add)
        result = fold_neighbours(self.function, self.monoid, total.results()[0], tile.split, self.dtype)
        writes = self.function.thread % tile.split == 0
        when(writes if there is None else tirx.And(writes, there), lambda: self.write(row, [result]))

    def lanes(self, block: Expr) -> None:
        """Neighbouring results by neighbouring threads; others of the block take other elements of the same ones."""
        tile, found = self.tile, self.layout
        lanes = tile.threads // tile.split
        number, there = self.share(block * lanes + self.function.thread % lanes)
        *row, lane = unravel(number, (*found.kept[:-1], ceildiv(found.lanes, tile.width)))
        index = (*row, lane * tile.width)
        totals = Accumulators(self.monoid, tile.width, self.dtype)

        def add(sums: Accumulators, turn: Expr) -> None:
            at = unravel(turn, found.reduced)
            for i, value in enumerate(self.function.load_run(0, (*at, *index), tile.width)):
                sums.add(i, term_of(self.spec, value, self.dtype))

        each_turn(totals, prod(found.reduced), (self.function.thread // lanes, tile.split), add)
        results = fold_strided(self.function, self.monoid, totals.results(), lanes, self.dtype)
        writes = self.function.thread < lanes
        when(writes if there is None else tirx.And(writes, there), lambda: self.write(index, results))

    def share(self, number: Expr) -> tuple[Expr, Expr | None]:
        """The share of a thread, and whether there is one: if not, it takes part in the last one."""
        count = shares(self.layout, self.tile)
        if count % (self.tile.threads // self.tile.split) == 0:
            return number, None
        return tirx.min(number, count - 1), number < count

    def write(self, index: Index, values: list[Expr]) -> None:
        results = [result_of(self.spec, value) for value in values]
        done = self.function.finish_run(self.spec.program, 1, index, results)
        if len(done) == 1:
            self.function.store(-1, index, done[0])
        else:
            self.function.store_run(-1, index, done)
