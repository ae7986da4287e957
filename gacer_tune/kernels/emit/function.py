"""A kernel function under construction: `void name(pointer..., int32 lo, int32 hi)` computing work items [lo, hi)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import elementwise, scalar
from gacer_tune.kernels.emit.bfloat16 import rounded, widened
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.program import Arg, Program
from gacer_tune.kernels.tensor import Tensor

Expr = Any
Index = Sequence[Any]


class Function:
    """Operands by number, in the order of the function's parameters. Booleans are stored as one byte each.

    machine: rounds to bfloat16 as it can; without, as any can.
    """

    def __init__(self, name: str, tensors: Sequence[Tensor], machine: Machine | None = None) -> None:
        self.name, self.tensors, self.machine = name, tuple(tensors), machine
        self.buffers: list[Any] = []

    def build(self, body: Callable[[Expr], None]) -> tirx.PrimFunc:
        """Return the function; body(item) emits what computes one work item."""
        return self.build_from(lambda _: body)

    def build_from(self, start: Callable[[Expr], Callable[[Expr], None]]) -> tirx.PrimFunc:
        """The same; start(lo) emits what comes before the first item, and returns the emitter of one."""
        pointers = [
            tirx.Var(f"p{i}", PointerType(PrimType(stored(tensor.dtype)))) for i, tensor in enumerate(self.tensors)
        ]
        lo, hi, zero = tirx.Var("lo", "int32"), tirx.Var("hi", "int32"), tirx.const(0, "int32")
        with IRBuilder() as builder, T.attr(zero, "kernel", zero):
            for tensor, pointer in zip(self.tensors, pointers, strict=True):
                self.buffers.append(T.decl_buffer((tensor.span,), stored(tensor.dtype), data=pointer))
            body = start(lo)
            with T.serial(0, hi - lo) as item:
                body(item + lo)
        attributes = tvm.ir.make_node("ir.DictAttrs", **{"tirx.noalias": True, "global_symbol": self.name})
        done = tirx.SeqStmt([builder.get().body, tirx.Return(zero)])
        return tirx.PrimFunc([*pointers, lo, hi], done, ret_type=PrimType("int32"), attrs=attributes)

    def part(self, numbers: Sequence[int]) -> Function:
        """What a part of the kernel has of its operands, in its own order; only while the body is emitted."""
        found = Function(self.name, [self.tensors[number] for number in numbers], self.machine)
        found.buffers = [self.buffers[number] for number in numbers]
        return found

    def load(self, operand: int, index: Index, width: int = 1) -> Expr:
        """The element at index, or width elements along the last axis."""
        tensor = self.tensors[operand]
        step = tensor.strides[-1] if tensor.strides else 0
        return self.load_from(operand, address(tensor, index), width, step)

    def load_from(self, operand: int, at: Expr, width: int, step: int) -> Expr:
        """width elements that lie `step` apart, from an offset on."""
        tensor, buffer = self.tensors[operand], self.buffers[operand]
        if width == 1:
            value = buffer[at]
        elif step == 0:
            value = T.broadcast(buffer[at], width)
        else:
            value = buffer[T.ramp(at, step, width)]
        if tensor.dtype == "bfloat16":
            return widened(value)
        if tensor.dtype == "byte":
            return scalar.cast(value, "float32")
        return scalar.cast(value, "bool") if tensor.dtype == "bool" else value

    def load_narrow(self, operand: int, index: Index, width: int) -> Expr:
        """width elements along the last axis as bfloat16, as they are where they are stored so."""
        tensor = self.tensors[operand]
        if tensor.dtype == "bfloat16" and tensor.strides[-1] == 1:
            return self.buffers[operand][
                T.ramp(address(tensor, index), 1, width) if width > 1 else address(tensor, index)
            ]
        return rounded(T.bind(self.load(operand, index, width)), self.machine)

    def store(self, operand: int, index: Index, value: Expr) -> None:
        """Store a vector (along the last axis) or one element."""
        tensor = self.tensors[operand]
        at, width = address(tensor, index), scalar.lanes(value)
        narrow = tensor.dtype == "bfloat16"
        value = rounded(value, self.machine) if narrow else scalar.cast(value, stored(tensor.dtype))
        T.buffer_store(self.buffers[operand], value, [at if width == 1 else T.ramp(at, tensor.strides[-1], width)])

    def finish(self, program: Program, first: int, index: Index, value: Expr | None, width: int) -> Expr:
        """Run the program on a value at an index; its operands are the function's operands from `first` on."""
        results = self.steps(program, first, index, [value], width)
        return results[-1] if results else value

    def steps(self, program: Program, first: int, index: Index, values: Sequence[Expr], width: int) -> list[Expr]:
        """Results of all steps of a program on values at an index."""
        results: list[Expr] = []

        def argument(arg: Arg) -> Expr:
            if arg.kind == "acc":
                return values[arg.index]
            if arg.kind == "step":
                return results[arg.index]
            if arg.kind == "operand":
                return self.load(first + arg.index, index, width)
            constant = tirx.const(arg.value if arg.dtype.startswith("float") else int(arg.value), arg.dtype)
            return constant if width == 1 else T.broadcast(constant, width)

        for step in program.steps:
            results.append(elementwise.apply(step.fn, [argument(a) for a in step.args], step.dtype, step.params))
        return results


def stored(dtype: str) -> str:
    return {"bool": "uint8", "byte": "uint8", "bfloat16": "uint16"}.get(dtype, dtype)


def address(tensor: Tensor, index: Index) -> Expr:
    """Element offset of an index, constants folded."""
    at: Expr = 0
    for i, stride in zip(index, tensor.strides, strict=True):
        if stride != 0 and not (isinstance(i, int) and i == 0):
            at = at + i * stride
    return at if not isinstance(at, int) else tirx.const(at, "int32")


def loop(extent: Expr) -> AbstractContextManager[Any]:
    """A serial loop; a loop of one turn costs nothing after simplification."""
    return T.serial(0, extent)  # type: ignore[no-any-return]


def when(condition: Expr, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
    with T.If(condition):
        with T.Then():
            then()
        if otherwise is not None:
            with T.Else():
                otherwise()
