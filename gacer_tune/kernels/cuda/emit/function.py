"""A CUDA kernel under construction: `name(pointer..., int32 lo, int32 hi)`, launched as hi - lo blocks of threads.

Block i of a launch computes work item lo + i, so that a kernel can be cut anywhere and launched in pieces. Values are
computed in float32 whatever they are stored as. Kernels that add up products call `fma`: what else multiplies and adds
is to be compiled without contraction (-fmad=false), or variants of one kernel could give different bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit import scalar
from gacer_tune.kernels.emit.function import address, stored
from gacer_tune.kernels.emit.scalar import cast
from gacer_tune.kernels.program import Arg, Program
from gacer_tune.kernels.tensor import Tensor

Expr = Any
Index = Sequence[Any]


class Function:
    """Operands by number, in the order of the function's parameters. Booleans are stored as one byte each.

    resident: blocks for which a processor is to have registers at the same time; 0: as it comes.
    """

    def __init__(self, name: str, tensors: Sequence[Tensor], threads: int) -> None:
        self.resident = 0
        self.name, self.tensors, self.threads = name, tuple(tensors), threads
        self.buffers: list[Any] = []
        self.thread = tirx.Var("thread", "int32")

    def build(self, body: Callable[[Expr], None]) -> tirx.PrimFunc:
        """Return the function; body(block) emits what one thread of the block that computes work item `block` does."""
        pointers = [
            tirx.Var(f"p{i}", PointerType(PrimType(stored(tensor.dtype)), "global"))
            for i, tensor in enumerate(self.tensors)
        ]
        lo, hi, zero = tirx.Var("lo", "int32"), tirx.Var("hi", "int32"), tirx.const(0, "int32")
        block = tirx.Var("block", "int32")
        with IRBuilder() as builder, T.attr(zero, "kernel", zero):
            for tensor, pointer in zip(self.tensors, pointers, strict=True):
                self.buffers.append(T.decl_buffer((tensor.span,), stored(tensor.dtype), data=pointer))
            with (
                T.attr(_axis(block, "blockIdx.x", None), "thread_extent", hi - lo),
                T.attr(_axis(self.thread, "threadIdx.x", self.threads), "thread_extent", self.threads),
            ):
                body(block + lo)
        attributes = {
            "tirx.noalias": True,
            "global_symbol": self.name,
            "calling_conv": 2,  # a kernel that is launched
            "tirx.kernel_launch_params": ["blockIdx.x", "threadIdx.x"],
        }
        if self.resident:
            attributes["tirx.launch_bounds_min_blocks_per_sm"] = self.resident
        found = tvm.ir.make_node("ir.DictAttrs", **attributes)
        return tirx.PrimFunc([*pointers, lo, hi], builder.get().body, attrs=found)

    def pointer(self, operand: int, at: Expr = 0) -> Expr:
        """Address of an element by its offset."""
        return T.address_of(self.buffers[operand][at])

    def element(self, operand: int, at: Expr) -> Expr:
        """The element at an offset: float16 as float32, other types as they are."""
        return widened(self.buffers[operand][at], self.tensors[operand].dtype)

    def load(self, operand: int, index: Index) -> Expr:
        """The element at index, as `element`."""
        return self.element(operand, address(self.tensors[operand], index))

    def load_run(self, operand: int, index: Index, width: int) -> list[Expr]:
        """`width` elements along the last axis, read 16 bytes at a time where they lie so."""
        tensor = self.tensors[operand]
        step = tensor.strides[-1] if tensor.strides else 0
        if step == 0:
            return [self.load(operand, index)] * width
        if step != 1 or tensor.dtype not in ("float16", "float32"):
            return [self.load(operand, (*index[:-1], index[-1] + i)) for i in range(width)]
        run = local(width)
        call(f"gt_load<{width}>", T.address_of(run[0]), self.pointer(operand, address(tensor, index)))
        return [run[i] for i in range(width)]

    def store(self, operand: int, index: Index, value: Expr) -> None:
        tensor = self.tensors[operand]
        T.buffer_store(self.buffers[operand], cast(value, stored(tensor.dtype)), [address(tensor, index)])

    def store_run(self, operand: int, index: Index, values: Sequence[Expr]) -> None:
        """Store neighbours along the last axis, 16 bytes at a time where they lie so."""
        tensor = self.tensors[operand]
        if tensor.strides[-1] != 1 or tensor.dtype not in ("float16", "float32"):
            for i, value in enumerate(values):
                self.store(operand, (*index[:-1], index[-1] + i), value)
            return
        run = local(len(values))
        for i, value in enumerate(values):
            T.buffer_store(run, cast(value, "float32"), [i])
        to = self.pointer(operand, address(tensor, index))
        call(f"gt_store<{len(values)}>", to, T.address_of(run[0]))

    def finish(self, program: Program, first: int, index: Index, value: Expr | None) -> Expr:
        """Run the program on a value at an index; its operands are the function's operands from `first` on."""
        return self.finish_run(program, first, index, [value])[0]

    def finish_run(self, program: Program, first: int, index: Index, values: Sequence[Expr]) -> list[Expr]:
        """The same for neighbours along the last axis, of which the first is at index."""
        width = len(values)
        results: list[list[Expr]] = []

        def argument(arg: Arg) -> Sequence[Expr]:
            if arg.kind == "acc":
                return values
            if arg.kind == "step":
                return results[arg.index]
            if arg.kind == "operand":
                return (
                    self.load_run(first + arg.index, index, width)
                    if width > 1
                    else [self.load(first + arg.index, index)]
                )
            return [tirx.const(arg.value if arg.dtype.startswith("float") else int(arg.value), arg.dtype)] * width

        for step in program.steps:
            rows = list(zip(*(argument(arg) for arg in step.args), strict=True))
            made = [scalar.apply(step.fn, row, step.dtype, step.params) for row in rows]
            results.append(kept(made, step.dtype))
        return results[-1] if results else list(values)


def kept(values: Sequence[Expr], dtype: str) -> list[Expr]:
    """The values in registers, so that no later step computes one again."""
    if dtype == "bool":
        return list(values)
    registers = local(len(values), dtype)
    for i, value in enumerate(values):
        T.buffer_store(registers, value, [i])
    return [registers[i] for i in range(len(values))]


def _axis(var: Any, tag: str, extent: int | None) -> Any:
    domain = None if extent is None else tvm.ir.Range(0, extent)
    return tirx.IterVar(domain, var, tirx.IterVar.ThreadIndex, tag)


def widened(value: Expr, dtype: str) -> Expr:
    """An element as it is computed with: float16 -> float32, a stored bool -> bool."""
    if dtype == "bool":
        return cast(value, "bool")
    return cast(value, "float32") if dtype == "float16" else value


def local(size: int, dtype: str = "float32") -> Any:
    """Registers of a thread, as long as all indices are constants once loops are unrolled."""
    return T.alloc_buffer((size,), dtype, scope="local")


def shared(size: int, dtype: str = "float32", dynamic: bool = False) -> Any:
    """Memory of the block, aligned to 64 bytes; at most 48 KiB in all, but a kernel's only buffer may be dynamic."""
    return T.alloc_buffer((size,), dtype, scope="shared.dyn" if dynamic else "shared")


def call(name: str, *args: Expr) -> None:
    """Call a function of device.cuh that returns nothing."""
    T.evaluate(T.call_extern("void", name, *args))


def fma(a: Expr, b: Expr, c: Expr) -> Expr:
    """a * b + c, rounded once."""
    return T.call_pure_extern("float32", "fmaf", a, b, c)


def sync() -> None:
    """Wait for all threads of the block, and see what they wrote to shared memory."""
    T.evaluate(tirx.call_intrin("void", "tirx.tvm_storage_sync", "shared"))
