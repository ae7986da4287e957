"""Emits `Rows` kernels for a GPU; see gacer_tune.kernels.rows for what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit import scalar
from gacer_tune.kernels.cuda.emit.fold import Accumulators, fold_neighbours
from gacer_tune.kernels.cuda.emit.function import Function, local
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.rows import KEPT, RowsTile, steps, width
from gacer_tune.kernels.emit.blocks import unravel
from gacer_tune.kernels.emit.fold import SUM, Monoid, largest
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.views import merged_outer

Expr = Any
Term = Callable[[Expr], Expr]


def emit(spec: Rows, tile: RowsTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, scale and bias if there are any, operands of the program, output."""
    tensors = list(spec.tensors(gpu))
    first = len(tensors) - 1 - len(spec.program.operands)
    merged = merged_outer([tensors[0], *tensors[first:]], 1)
    function = Function(name, [merged[0], *tensors[1:first], *merged[1:]], tile.threads)
    return function.build(_Emitter(spec, tile, gpu, function).block)


class _Emitter:
    """The row is read once if its threads can keep it, else for each fold and for the result."""

    def __init__(self, spec: Rows, tile: RowsTile, gpu: Gpu, function: Function) -> None:
        self.spec, self.tile, self.function = spec, tile, function
        self.width, self.steps = width(spec, gpu), steps(spec, gpu, tile.lanes)
        self.keeps = self.steps * self.width <= KEPT
        self.row: tuple[Expr, ...] = ()
        self.there: Expr = None
        self.values: Any = None

    def block(self, block: Expr) -> None:
        norms = {"layer_norm": self.layer_norm, "rms_norm": self.rms_norm, "l2_norm": self.l2_norm}
        number = block * self.tile.rows + self.function.thread // self.tile.lanes
        if self.spec.rows % self.tile.rows:
            self.there = number < self.spec.rows
            number = tirx.min(number, self.spec.rows - 1)  # all threads take part in folds
        self.row = unravel(number, self.function.tensors[-1].shape[:-1])
        if self.keeps:
            self.values = local(self.steps * self.width)
            self.each(self.read)
        norms.get(self.spec.kind, self.softmax)()

    def each(self, body: Callable[[Expr, Expr], None]) -> None:
        """Run body(step, first element) for what this thread has of the row."""
        extent, lanes = self.spec.out.shape[-1], self.tile.lanes

        def one(step: Expr) -> None:
            first = (step * lanes + self.function.thread % lanes) * self.width
            if extent % (lanes * self.width) == 0:
                body(step, first)
            else:
                when(first < extent, lambda: body(step, first))

        if self.keeps:
            for step in range(self.steps):
                one(step)
        else:
            with loop(self.steps) as step:
                one(step)

    def read(self, step: Expr, first: Expr) -> None:
        for i, value in enumerate(self.function.load_run(0, (*self.row, first), self.width)):
            T.buffer_store(self.values, value, [step * self.width + i])

    def taken(self, step: Expr, first: Expr) -> list[Expr]:
        if self.keeps:
            return [self.values[step * self.width + i] for i in range(self.width)]
        return self.function.load_run(0, (*self.row, first), self.width)

    def fold(self, monoid: Monoid, term: Term) -> Expr:
        total = Accumulators(monoid)

        def add(step: Expr, first: Expr) -> None:
            for value in self.taken(step, first):
                total.add(0, term(value))

        self.each(add)
        return fold_neighbours(self.function, monoid, total.results()[0], self.tile.lanes)

    def write(self, term: Callable[[Expr, Expr, int], Expr]) -> None:
        """Store the row; term(value, first element, which one after that) gives a result without the program."""
        program = self.spec.program
        operands = len(self.function.tensors) - 1 - len(program.operands)

        def store(step: Expr, first: Expr) -> None:
            values = [T.bind(term(value, first, i)) for i, value in enumerate(self.taken(step, first))]
            done = self.function.finish_run(program, operands, (*self.row, first), values)
            self.function.store_run(-1, (*self.row, first), done)

        if self.there is None:
            self.each(store)
        else:
            when(self.there, lambda: self.each(store))

    def softmax(self) -> None:
        top = self.fold(largest("float32"), lambda value: value)

        def exponential(value: Expr) -> Expr:
            return T.bind(scalar.exp(T.bind(value - top)))

        total = self.fold(SUM, exponential)
        if self.spec.kind == "log_softmax":
            shift = T.bind(tirx.log(total))
            self.write(lambda value, _first, _i: value - top - shift)
            return
        share = T.bind(tirx.const(1.0, "float32") / total)
        self.write(lambda value, _first, _i: exponential(value) * share)

    def layer_norm(self) -> None:
        mean = T.bind(self.fold(SUM, lambda value: value) / self.count())

        def squared(value: Expr) -> Expr:
            value = T.bind(value - mean)
            return value * value

        scale = self.one_over_root(self.fold(SUM, squared) / self.count())
        self.write(lambda value, first, i: self.scaled((value - mean) * scale, first + i))

    def rms_norm(self) -> None:
        scale = self.one_over_root(self.fold(SUM, lambda value: value * value) / self.count())
        self.write(lambda value, first, i: self.scaled(value * scale, first + i))

    def l2_norm(self) -> None:
        zero, one = tirx.const(0.0, "float32"), tirx.const(1.0, "float32")
        length = T.bind(tirx.sqrt(self.fold(SUM, lambda value: value * value)))
        scale = T.bind(tirx.Select(length > zero, one / length, zero))
        self.write(lambda value, _first, _i: value * scale)

    def count(self) -> Expr:
        return tirx.const(self.spec.out.shape[-1], "float32")

    def one_over_root(self, value: Expr) -> Expr:
        return T.bind(tirx.const(1.0, "float32") / tirx.sqrt(value + tirx.const(self.spec.epsilon, "float32")))

    def scaled(self, value: Expr, at: Expr) -> Expr:
        """Apply scale and bias, those that there are."""
        operand = 1
        if self.spec.scale is not None:
            value = value * self.function.load(operand, (at,))
            operand += 1
        return value if self.spec.bias is None else value + self.function.load(operand, (at,))
