"""Emits `Rows` kernels; see gacer_tune.kernels.rows for what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.blocks import RowsTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import block_of, run, spread, sweep, unravel
from gacer_tune.kernels.emit.fold import SUM, Fold, Monoid, largest
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.views import merged_outer

Expr = Any
Term = Callable[[Expr, int], Expr]
SCRATCH = 49152  # elements of a row that scratch may hold


def emit(spec: Rows, tile: RowsTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, scale and bias if there are any, operands of the program, output."""
    tensors = list(spec.tensors(machine))
    first = len(tensors) - 1 - len(spec.program.operands)
    merged = merged_outer([tensors[0], *tensors[first:]], 1)
    function = Function(name, [merged[0], *tensors[1:first], *merged[1:]], machine)
    rows = RowWise(spec, machine, function)

    def item(number: Expr) -> None:
        with block_of(spec.rows, tile.rows, number) as row:
            rows.normalise(unravel(row, function.tensors[-1].shape[:-1]))

    return function.build(item)


class RowWise:
    """Normalises rows; operands are those of `emit`, the source may be the output."""

    def __init__(self, spec: Rows, machine: Machine, function: Function) -> None:
        self.spec, self.vector, self.function = spec, machine.vector, function
        self.extent = spec.out.shape[-1]
        self.row: tuple[Expr, ...] = ()

    def normalise(self, row: tuple[Expr, ...]) -> None:
        norms = {"layer_norm": self.layer_norm, "rms_norm": self.rms_norm, "l2_norm": self.l2_norm}
        self.row = row
        norms.get(self.spec.kind, self.softmax)()

    def softmax(self) -> None:
        """Exponentials are kept in the output row, else in scratch; rows too long for that compute them again."""
        spec = self.spec
        top = self.fold(largest("float32"), self.load)
        if spec.kind == "log_softmax":
            total = T.bind(tirx.log(self.fold(SUM, lambda first, width: self.exponential(top, first, width))))
            self.write(lambda first, width: self.load(first, width) - spread(top, width) - spread(total, width))
            return
        in_output = spec.out.dtype == "float32" and spec.out.strides[-1] == 1
        scratch: Any = None
        if not in_output and self.extent <= SCRATCH:
            scratch = T.alloc_buffer((self.extent,), "float32", scope="local")

        def keep(first: Expr, width: int) -> Expr:
            value = self.exponential(top, first, width)
            if in_output:
                self.function.store(-1, (*self.row, first), value)
            elif scratch is not None:
                T.buffer_store(scratch, value, [run(first, width)])
            return value

        def kept(first: Expr, width: int) -> Expr:
            if in_output:
                return self.function.load(-1, (*self.row, first), width)
            return self.exponential(top, first, width) if scratch is None else scratch[run(first, width)]

        share = T.bind(tirx.const(1.0, "float32") / self.fold(SUM, keep))
        self.write(lambda first, width: kept(first, width) * spread(share, width))

    def layer_norm(self) -> None:
        count = tirx.const(self.extent, "float32")
        mean = T.bind(self.fold(SUM, self.load) / count)

        def centred(first: Expr, width: int) -> Expr:
            return T.bind(self.load(first, width) - spread(mean, width))

        def squared(first: Expr, width: int) -> Expr:
            value = centred(first, width)
            return value * value

        scale = self.one_over_root(self.fold(SUM, squared) / count)
        self.write(lambda first, width: self.scaled(centred(first, width) * spread(scale, width), first, width))

    def rms_norm(self) -> None:
        scale = self.one_over_root(self.fold(SUM, self.squared) / tirx.const(self.extent, "float32"))
        self.write(lambda first, width: self.scaled(self.load(first, width) * spread(scale, width), first, width))

    def l2_norm(self) -> None:
        zero, one = tirx.const(0.0, "float32"), tirx.const(1.0, "float32")
        length = T.bind(tirx.sqrt(self.fold(SUM, self.squared)))
        scale = T.bind(tirx.Select(length > zero, one / length, zero))
        self.write(lambda first, width: self.load(first, width) * spread(scale, width))

    def fold(self, monoid: Monoid, term: Term) -> Expr:
        folding = Fold(monoid, self.extent, self.vector)
        folding.take(term)
        return T.bind(folding.result())

    def write(self, term: Term) -> None:
        """Store the finished values of a row; term gives them without the program."""
        program = self.spec.program
        first_operand = len(self.function.tensors) - 1 - len(program.operands)

        def store(first: Expr, width: int) -> None:
            index = (*self.row, first)
            value = self.function.finish(program, first_operand, index, T.bind(term(first, width)), width)
            self.function.store(-1, index, value)

        sweep(self.extent, self.vector, store)

    def load(self, first: Expr, width: int) -> Expr:
        return self.function.load(0, (*self.row, first), width)

    def squared(self, first: Expr, width: int) -> Expr:
        value = T.bind(self.load(first, width))
        return value * value

    def exponential(self, top: Expr, first: Expr, width: int) -> Expr:
        return T.bind(scalar.exp(T.bind(self.load(first, width) - spread(top, width))))

    def one_over_root(self, value: Expr) -> Expr:
        return T.bind(tirx.const(1.0, "float32") / tirx.sqrt(value + tirx.const(self.spec.epsilon, "float32")))

    def scaled(self, value: Expr, first: Expr, width: int) -> Expr:
        """Apply scale and bias, those that there are."""
        operand = 1
        if self.spec.scale is not None:
            value = value * self.function.load(operand, (first,), width)
            operand += 1
        return value if self.spec.bias is None else value + self.function.load(operand, (first,), width)
