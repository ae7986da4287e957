"""Emits `Reduce` kernels; see gacer_tune.kernels.reduce for what a variant is."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import elementwise, scalar
from gacer_tune.kernels.emit.blocks import Parts, block_of, nest, run, tiles, unravel
from gacer_tune.kernels.emit.fold import PROD, SUM, Fold, Monoid, fold_lanes, largest, smallest
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.reduce import Reduce, ReduceTile, blocks, layout
from gacer_tune.kernels.tensor import computed

Expr = Any
Index = tuple[Expr, ...]


def emit(spec: Reduce, tile: ReduceTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, layout(spec, machine).tensors, machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


def monoid_of(kind: str, dtype: str) -> Monoid:
    extremes = {"max": largest, "min": smallest}
    if kind in extremes:
        return extremes[kind](dtype)
    return PROD if kind == "prod" else SUM


def term_of(spec: Reduce, value: Expr, dtype: str) -> Expr:
    """What one element of the source contributes."""
    if spec.kind == "l1":
        return elementwise.apply("abs", [T.bind(value)], dtype)
    if spec.kind in ("sumsq", "l2"):
        value = T.bind(value)
        return value * value
    return value


def result_of(spec: Reduce, folded: Expr) -> Expr:
    """What the terms of all elements make together."""
    if spec.kind == "mean":
        return T.bind(scalar.div(folded, scalar.like(spec.count, folded)))
    return T.bind(tirx.sqrt(folded)) if spec.kind == "l2" else folded


class _Emitter:
    def __init__(self, spec: Reduce, tile: ReduceTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.layout, self.dtype = layout(spec, machine), computed(spec.source.dtype)
        self.monoid = monoid_of(spec.kind, self.dtype)

    def item(self, item: Expr) -> None:
        (_, lane_blocks), tile, found = blocks(self.spec, self.tile, self.machine), self.tile, self.layout
        rows, lanes = item // lane_blocks, item % lane_blocks
        size, block = tile.vectors * self.machine.vector, (lanes, tile.lanes)
        with block_of(found.rows, tile.rows, rows) as at:
            row = unravel(at, found.kept[:-1] if found.lanes else found.kept)
            if found.lanes:
                tiles(found.lanes, size, self.machine.vector, block, lambda lane, parts: self.lanes(row, lane, parts))
            else:
                self.fold(row)

    def fold(self, row: Index) -> None:
        """One result from whole rows of the last reduced axis."""
        folding = Fold(self.monoid, self.layout.reduced[-1], self.machine.vector, self.dtype)

        def take(outer: Index) -> None:
            folding.take(lambda first, width: self.term((*row, *outer, first), width))

        nest(self.layout.reduced[:-1], take)
        self.write(row, T.bind(folding.result()), 1)

    def lanes(self, row: Index, lane: Expr, parts: Parts) -> None:
        """Results of a tile of lanes."""

        def term(index: Index, offset: int, width: int) -> Expr:
            return self.term((*index, *row, lane + offset), width)

        results = fold_lanes(self.monoid, parts, self.layout.reduced, term, self.dtype)
        for offset, width in parts:
            self.write((*row, lane + offset), T.bind(results[run(offset, width)]), width)

    def term(self, index: Index, width: int) -> Expr:
        return term_of(self.spec, self.function.load(0, index, width), self.dtype)

    def write(self, index: Index, value: Expr, width: int) -> None:
        done = self.function.finish(self.spec.program, 1, index, result_of(self.spec, value), width)
        self.function.store(-1, index, done)
