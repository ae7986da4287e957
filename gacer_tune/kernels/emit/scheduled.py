"""Emits the variants that MetaSchedule has arranged; see gacer_tune.kernels.scheduled for what they are."""

from __future__ import annotations

from math import prod
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad
from tvm.script.ir_builder import tirx as T
from tvm.tirx import BufferStore

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.emit.blocks import splat, unravel
from gacer_tune.kernels.emit.fallback import finished, nested
from gacer_tune.kernels.emit.function import Function, address, stored
from gacer_tune.kernels.emit.nests import SCRATCH
from gacer_tune.kernels.emit.scalar import cast
from gacer_tune.kernels.emit.space import NotScheduledError, scheduled
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.scheduled import Product, Scheduled, product_of
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Stmt = Any


def emit(spec: Any, tile: Scheduled, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output. Raises NotScheduledError."""
    product = product_of(spec, machine)
    if product is None:
        raise NotScheduledError("MetaSchedule is not asked about this kernel")
    tensors = spec.tensors(machine)
    arranged = nested(scheduled(product, tile, machine), machine)
    function = Function(name, tensors, machine)
    function.buffers = [tirx.decl_buffer((t.span,), stored(t.dtype), f"b{i}") for i, t in enumerate(tensors)]
    body = _Rewriter(spec, product, machine, function, arranged).body()
    require_one_loop(body, tile.count)
    return finished(tirx.PrimFunc(function.buffers, body), tensors, 1, machine, name)


def require_one_loop(body: Stmt, turns: int) -> None:
    """All of it is one parallel loop of so many turns, and its scratch fits on a stack."""
    outermost = body
    while isinstance(outermost, tirx.AttrStmt):
        outermost = outermost.body
    if not isinstance(outermost, tirx.For) or outermost.kind != tirx.ForKind.PARALLEL:
        raise NotScheduledError("the outermost loop is not parallel")
    if int(outermost.extent) != turns:
        raise NotScheduledError(f"{int(outermost.extent)} work items, not {turns}")
    parallel, scratch = [], []

    def loop(node: Any) -> None:
        parallel.append(node.kind == tirx.ForKind.PARALLEL)

    def alloc(node: Any) -> None:
        scratch.append(4 * prod(int(n) for n in node.buffer.shape))

    tvm_ffi.structural_walk(body, [(tirx.For, loop), (tirx.AllocBuffer, alloc)])
    if sum(parallel) != 1 or sum(scratch) > SCRATCH:
        raise NotScheduledError(f"{sum(parallel)} parallel loops, {sum(scratch)} bytes of scratch")


class _Rewriter:
    """Puts real operands, vectors, borders and the program into the loops of a plain product.

    Those store three things: 0 into scratch, a sum with one more product into scratch, scratch into the output.
    """

    def __init__(self, spec: Any, product: Product, machine: Machine, function: Function, arranged: Any) -> None:
        self.spec, self.product, self.machine, self.function = spec, product, machine, function
        self.arranged = arranged
        self.scratch: dict[Any, Any] = {}

    def body(self) -> Stmt:
        tvm_ffi.structural_walk(self.arranged.body, (tirx.AllocBuffer, self._widen))
        changes = [
            (tirx.AllocBuffer, lambda node: tirx.AllocBuffer(self.scratch[node.buffer])),
            (BufferStore, self._store),
        ]
        return tvm_ffi.structural_map(self.arranged.body, changes, order="post")

    def _widen(self, node: Any) -> None:
        shape = (*node.buffer.shape, self.machine.vector)
        self.scratch[node.buffer] = tirx.decl_buffer(shape, "float32", node.buffer.name)

    def _store(self, node: Any) -> Stmt:
        value, target = node.value, self.scratch.get(node.buffer)
        if target is None and isinstance(value, TensorLoad):
            return self._finish(list(node.indices), value)
        if target is None:
            raise NotScheduledError("the output is stored before it is whole")
        if isinstance(value, tirx.FloatImm):
            return BufferStore(target, splat(float(value.value), self.machine.vector), self._vector(node.indices))
        return self._accumulate(node, target)

    def _vector(self, index: Any) -> list[Expr]:
        return [*index, T.ramp(0, 1, self.machine.vector)]

    def _accumulate(self, node: Any, target: Any) -> Stmt:
        """target[i] = target[i] + source * weight, where the tap lies inside of the image."""
        source, weight, _ = self.arranged.params
        loads: dict[Any, list[Expr]] = {}
        tvm_ffi.structural_walk(node.value, (TensorLoad, lambda load: loads.update({load.source: list(load.indices)})))
        index, inside = self._source(loads[source])
        value = T.broadcast(self.function.load(0, index), self.machine.vector)
        at = self._vector(node.indices)
        store = BufferStore(target, target[tuple(at)] + value * self._weights(*loads[weight]), at)
        return store if inside is None else tirx.IfThenElse(inside, store, None)

    def _source(self, index: list[Expr]) -> tuple[tuple[Expr, ...], Expr | None]:
        """The element of the source, and when it is one of the image."""
        n, y, x, group, channel = index
        if not isinstance(self.spec, Conv2d):
            return (*unravel(n, self.spec.left.shape[:-2]), x, channel), None
        window = self.spec.sliding
        y, x = y - window.pad[0], x - window.pad[1]
        inside = [
            tirx.And(at >= 0, at < extent)
            for at, extent, clipped in (
                (y, window.image[0], window.clipped_rows),
                (x, window.image[1], window.clipped_columns),
            )
            if clipped
        ]
        condition = None if not inside else inside[0] if len(inside) == 1 else tirx.And(*inside)
        return (n, y, x, group * self.product.channels + channel), condition

    def _weights(self, group: Expr, vector: Expr, tap: Expr, channel: Expr) -> Expr:
        """A vector of the packed weights."""
        lanes, vectors = self.machine.vector, self.product.output[-1]
        each = self.machine.pack // lanes
        rows, columns = self.product.taps
        block = group * ceildiv(vectors, each) + vector // each
        at = ((block * (rows * columns) + tap) * self.product.channels + channel) * self.machine.pack
        return self.function.buffers[1][T.ramp(at + vector % each * lanes, 1, lanes)]

    def _finish(self, index: list[Expr], value: Any) -> Stmt:
        """Run the program on a vector of sums and store it; past the last channel of a group nothing is stored."""
        lanes, (*place, group, vector) = self.machine.vector, index
        sums, at = self.scratch[value.source], list(value.indices)
        outputs = self.spec.group_channels[1] if isinstance(self.spec, Conv2d) else self.spec.extents[2]
        first, rest = group * outputs + vector * lanes, outputs % lanes
        whole = self._put(place, first, sums[tuple(self._vector(at))], lanes)
        if not rest:
            return whole
        lane = tirx.Var("lane", "int32")
        one = self._put(place, first + lane, sums[(*at, lane)], 1)
        some = tirx.For(lane, tirx.const(0, "int32"), tirx.const(rest, "int32"), tirx.ForKind.SERIAL, one)
        return tirx.IfThenElse(tirx.EQ(vector, self.product.output[-1] - 1), some, whole)

    def _put(self, place: list[Expr], channel: Expr, value: Expr, width: int) -> Stmt:
        """Finish and store `width` elements."""
        n, y, x = place
        here = (n, y, x) if isinstance(self.spec, Conv2d) else (*unravel(n, self.spec.out.shape[:-2]), x)
        index, tensor = (*here, channel), self.function.tensors[-1]
        done = cast(self.function.finish(self.spec.program, 2, index, value, width), stored(tensor.dtype))
        at = address(tensor, index)
        return BufferStore(
            self.function.buffers[-1], done, [at if width == 1 else T.ramp(at, tensor.strides[-1], width)]
        )
