"""A tenant under construction: buffers, packed weights, ops, and where every value lies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Buffer, BufferKind, Operand
from gacer_tune.kernels import mapping
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.machine import Target
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Spec
from gacer_tune.kernels.tensor import NBYTES, STORED, Tensor, contiguous
from gacer_tune.lowering import elementwise
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Array, Graph
from gacer_tune.lowering.view import View, ordered

CHANNELS_LAST = (0, 2, 3, 1)
HALF = 65504.0  # the largest float16


@dataclass(frozen=True, slots=True)
class LoweredKernel:
    """A kernel before its variants are chosen: what it computes, and its operands in parameter order."""

    spec: Spec
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class LoweredOp:
    """direct: flops by the operator's definition where its kernels do fewer, else 0."""

    name: str
    kind: str
    kernels: tuple[LoweredKernel, ...]
    direct: int = 0


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What happens to an anchor's value before it is stored; operands are views with the anchor's logical shape."""

    steps: tuple[Step, ...] = ()
    operands: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value may be made in place: part of a later concatenation, every `step`-th element along its axis."""

    parent: str
    axis: int
    start: int
    step: int = 1


@dataclass
class Lowering:
    """Mutable while a model is lowered; `lower_model` turns it into values.

    lanes: how many may share a kernel's work items; bytes: the values that are stored as such.
    """

    graph: Graph
    machine: Target
    slots: dict[str, Slot] = field(default_factory=dict)
    lanes: int = 1
    bytes: frozenset[str] = frozenset()
    buffers: list[Buffer] = field(default_factory=list)
    weights: dict[int, Array] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    ops: list[LoweredOp] = field(default_factory=list)
    _contents: dict[str, View] = field(default_factory=dict)

    def buffer(self, name: str, kind: BufferKind, nbytes: int, content: str = "") -> int:
        self.buffers.append(Buffer(name, max(nbytes, 1), kind, content))
        return len(self.buffers) - 1

    def stored(self, dtype: str) -> str:
        """How values of a type are stored: float32 as the machine says, others as they are."""
        return self.machine.values if dtype == "float32" else dtype

    def weight(self, name: str, array: Array, exact: bool = False) -> View:
        """Return where a constant lies, stored as it is where that is to be `exact`; equal ones lie in one place."""
        if str(array.dtype) not in NBYTES and not (exact and array.dtype == np.uint16):
            raise UserError(f"{name}: constant of type {array.dtype}, allowed are {', '.join(NBYTES)}")
        narrow = array.dtype == np.float32 and not exact
        array = np.ascontiguousarray(narrowed(array, self.machine.dtype) if narrow else array)
        dtype = str(array.dtype)
        content = hashlib.sha256(f"{dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
        if content not in self._contents:
            number = self.buffer(name, "weight", array.nbytes, content)
            self.weights[number] = array
            self._contents[content] = View(number, 0, Tensor(array.shape, contiguous(array.shape), dtype))
        return self._contents[content]

    def view(self, name: str) -> View:
        """Where a value lies; constants are placed when they are first asked for."""
        if name not in self.views:
            self.views[name] = self.weight(name, self.graph.constants[name])
        return self.views[name]

    def fresh(self, name: str, shape: tuple[int, ...], dtype: str, order: tuple[int, ...] | None = None) -> View:
        """A new value that belongs to no name of the graph; dtype is how it is stored."""
        tensor = Tensor(shape, ordered(shape, order), dtype)
        return View(self.buffer(name, "value", tensor.size * STORED[dtype]), 0, tensor)

    def output(self, name: str, order: tuple[int, ...] | None = None) -> View:
        """Place for the graph's value `name`, axes in memory order `order`; inside a concatenation where that fits."""
        if name in self.views:
            return self.views[name]
        shape, dtype = self.graph.shapes[name], self.graph.dtypes[name]
        if isinstance(self.machine, Gpu) or name not in self.graph.outputs:
            dtype = "byte" if name in self.bytes else self.stored(dtype)
        strides = ordered(shape, order)
        slot = self.slots.get(name)
        if slot is not None:
            parent = self.output(slot.parent, order)
            inside = parent.slice(slot.axis, slot.start, shape[slot.axis], slot.step)
            if _same_order(inside, strides, slot.step):
                self.views[name] = inside
                return inside
        tensor = Tensor(shape, strides, dtype)
        as_seen = name in self.graph.outputs and tensor.dense and dtype == self.graph.dtypes[name]
        kind: BufferKind = "output" if as_seen else "value"
        self.views[name] = View(self.buffer(name, kind, tensor.size * STORED[dtype]), 0, tensor)
        return self.views[name]

    def emit(self, name: str, kind: str, kernels: Sequence[LoweredKernel], direct: int = 0) -> None:
        self.ops.append(LoweredOp(name, kind, tuple(kernels), direct))

    def kernel(self, spec: Spec, reads: Sequence[View], *writes: View) -> LoweredKernel:
        """The kernel with its operands; reads in parameter order, what it writes last."""
        return LoweredKernel(spec, (*map(operand, reads), *(operand(view, writes=True) for view in writes)))

    def copy(self, source: View, out: View) -> LoweredKernel:
        return self.kernel(mapping.copy(source.tensor, out.tensor), [source], out)

    def materialize(self, name: str, source: View, order: tuple[int, ...] | None = None) -> View:
        """Copy a view to memory of its own, dense in the given order of axes."""
        out = self.fresh(f"{name}.copy", source.shape, source.dtype, order)
        self.emit(f"{name}.copy", "copy", [self.copy(source, out)])
        return out

    def epilogue(self, group: Group, bias: View | None = None) -> Epilogue:
        """Steps for all nodes of the group after its anchor (or all of them where there is no anchor)."""
        steps: list[Step] = []
        operands: list[View] = []
        anchor = self.graph.nodes[group.first]
        shape = self.graph.shapes[anchor.outputs[0]]
        results: dict[str, Arg] = {}
        rest = group.nodes
        if anchor.op not in elementwise.ELEMENTWISE:
            results[anchor.outputs[0]], rest = Arg("acc"), group.nodes[1:]
            if bias is not None:
                steps.append(Step("add", (Arg("acc"), Arg("operand", 0))))
                operands.append(bias.broadcast(shape))
                results[anchor.outputs[0]] = Arg("step", 0)

        def argument(name: str) -> Arg:
            if name in results:
                return results[name]
            if (scalar := elementwise.scalar(self.graph, name)) is not None:
                return scalar
            view = self.view(name).broadcast(shape)
            if view not in operands:
                operands.append(view)
            return Arg("operand", operands.index(view))

        for number in rest:
            node = self.graph.nodes[number]
            args = [argument(name) for name in elementwise.operands_of(node)]
            steps += elementwise.steps(self.graph, node, args, len(steps))
            results[node.outputs[0]] = Arg("step", len(steps) - 1)
        return Epilogue(tuple(steps), tuple(operands))


def operand(view: View, writes: bool = False) -> Operand:
    return Operand(view.buffer, writes, view.offset * STORED[view.dtype])


def program(epilogue: Epilogue, operands: Sequence[View]) -> Program:
    """The epilogue's program once its operands have been brought into the shape of the kernel's output."""
    return Program(epilogue.steps, tuple(view.tensor for view in operands))


def narrowed(array: Array, dtype: str) -> Array:
    """The array as dtype; what float16 cannot hold becomes the largest it can (masks are written as -1e9)."""
    if dtype != "float16":
        return array.astype(dtype, copy=False)
    finite = np.isfinite(array)
    return np.where(finite, np.clip(array, -HALF, HALF), array).astype(np.float16)


def _same_order(view: View, strides: tuple[int, ...], step: int) -> bool:
    """True when the axes of the view lie in memory in the order that dense strides ask for, the last `step` apart."""
    wanted = sorted((s, a) for a, (s, n) in enumerate(zip(strides, view.shape, strict=True)) if n > 1)
    real = sorted((s, a) for a, (s, n) in enumerate(zip(view.strides, view.shape, strict=True)) if n > 1)
    return [a for _, a in wanted] == [a for _, a in real] and (not real or real[0][0] == step)
