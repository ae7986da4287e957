"""Loops for operators that TVM hands to its runtime, which kernels cannot call, or makes slow loops for."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import part, unravel
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Place = Callable[[Expr], list[Expr]]

COLUMNS = 256  # neighbouring sums that are made together


def cumsum(builder: Any, call: Any) -> Any:
    """relax.cumsum, which ONNX wants in the type of the operand."""
    return builder.call_te(_cumsum, call.args[0], int(call.attrs.axis), bool(call.attrs.exclusive))


def topk(builder: Any, call: Any) -> Any:
    """relax.topk with both results; of equal elements the first one counts as better, as ONNX has it."""
    attributes = call.attrs
    if attributes.ret_type != "both":
        raise ValueError(f"topk with {attributes.ret_type}")
    return builder.call_te(_topk, call.args[0], int(attributes.k), int(attributes.axis), bool(attributes.largest))


LEGALIZE = {"relax.cumsum": cumsum, "relax.topk": topk}


def _cumsum(data: Any, axis: int, exclusive: bool) -> Any:
    """Blocks of neighbouring columns, each from its first row to the last."""
    shape = [int(n) for n in data.shape]
    axis %= len(shape)
    rows, columns = shape[axis], prod(shape[axis + 1 :])
    blocks = ceildiv(columns, COLUMNS)

    def body(ins: Any, outs: Any) -> Any:
        with IRBuilder() as builder, T.parallel(0, prod(shape[:axis]) * blocks) as block:
            source, out = T.buffer_proxy(ins[0]), T.buffer_proxy(outs[0])
            first = block // blocks * rows * columns + block % blocks * COLUMNS
            width = part(columns, COLUMNS, block % blocks, blocks)
            with loop(width) as column:
                out[first + column] = tirx.const(0, data.dtype) if exclusive else source[first + column]
            with loop(rows - 1) as row, loop(width) as column:
                before = first + row * columns + column
                out[before + columns] = out[before] + source[before if exclusive else before + columns]
        return builder.get()

    return te.extern([shape], [data], body, dtype=[str(data.dtype)], name="cumsum")


def _topk(data: Any, k: int, axis: int, largest: bool) -> Any:
    shape = [int(n) for n in data.shape]
    axis %= len(shape)
    kept = [*shape[:axis], k, *shape[axis + 1 :]]
    buffers = [tirx.decl_buffer(kept, data.dtype, "values"), tirx.decl_buffer(kept, "int64", "indices")]

    def body(ins: Any, outs: Any) -> Any:
        rows = [*shape[:axis], *shape[axis + 1 :]]
        with IRBuilder() as builder, T.parallel(0, prod(rows)) as row:
            place = unravel(row, rows)
            _Heap(outs, k, largest, lambda i: [*place[:axis], i, *place[axis:]]).sort(ins[0], shape[axis])
        return builder.get()

    return te.extern([kept, kept], [data], body, out_buffers=buffers, name="topk")


class _Heap:
    """The best k elements of a row in the place of the results, the worst of them on top until they are sorted."""

    def __init__(self, results: Any, k: int, largest: bool, place: Place) -> None:
        (self.values, self.indices), self.k, self.largest, self.place = results, k, largest, place

    def sort(self, data: Any, extent: int) -> None:
        with loop(self.k) as i:
            self.put(i, data[tuple(self.place(i))], tirx.Cast("int64", i))
        with loop(self.k // 2) as i:
            start = self.k // 2 - 1 - i
            self.sink(start, self.k, *self.held(start))
        with loop(extent - self.k) as i:
            value = T.bind(data[tuple(self.place(self.k + i))])
            index = tirx.Cast("int64", self.k + i)
            when(self.beats(value, self.held(0)[0]), lambda: self.sink(0, self.k, value, index))
        with loop(self.k - 1) as i:
            last = self.k - 1 - i
            value, index = self.held(last)
            self.put(last, *self.held(0))
            self.sink(0, last, value, index)

    def sink(self, start: Expr, size: Expr, value: Expr, index: Expr) -> None:
        """Put an element at `start` or, below that, where everything beneath it is better."""
        hole, child = (T.alloc_buffer((1,), "int32", scope="local") for _ in range(2))
        T.buffer_store(hole, tirx.Cast("int32", start), [0])
        T.buffer_store(child, 2 * hole[0] + 1, [0])
        with T.While(child[0] < size):
            with T.If(child[0] + 1 < size), T.Then():
                pair = self.worse(self.held(child[0] + 1), self.held(child[0]))
                when(pair, lambda: T.buffer_store(child, child[0] + 1, [0]))
            below = self.held(child[0])

            def rise() -> None:
                self.put(hole[0], *below)
                T.buffer_store(hole, child[0], [0])
                T.buffer_store(child, 2 * hole[0] + 1, [0])

            when(self.worse(below, (value, index)), rise, lambda: T.buffer_store(child, size, [0]))
        self.put(hole[0], value, index)

    def held(self, i: Expr) -> tuple[Expr, Expr]:
        place = tuple(self.place(i))
        return T.bind(self.values[place]), T.bind(self.indices[place])

    def put(self, i: Expr, value: Expr, index: Expr) -> None:
        T.buffer_store(self.values, value, self.place(i))
        T.buffer_store(self.indices, index, self.place(i))

    def beats(self, a: Expr, b: Expr) -> Expr:
        if str(self.values.dtype) == "uint8":  # TVM's simplifier would turn comparisons into negative constants
            a, b = (tirx.Cast("int32", value) for value in (a, b))
        return a > b if self.largest else a < b

    def worse(self, a: tuple[Expr, Expr], b: tuple[Expr, Expr]) -> Expr:
        same = tirx.And(tirx.Not(self.beats(a[0], b[0])), a[1] > b[1])
        return tirx.Or(self.beats(b[0], a[0]), same)
