"""Nests of loops: what TVM's functions are taken apart into.

A function that TVM makes of an operator is a sequence of nests of loops with buffers between them. Each nest is a
function of its own here, so that those buffers are planned like all values (they may be far too large for a stack) and
so that a nest whose outer loops are independent can be cut over lanes.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call, TensorLoad

Stmt = Any

PACKED_CALLS = ("tirx.tvm_call_packed", "tirx.tvm_call_cpacked", "tirx.buffer_data")
SCRATCH = 65536  # bytes inside a nest, which lie on the stack


class NotImportedError(ValueError):
    """TVM cannot import the model, or not as loops over dense tensors of types that kernels know."""


@dataclass(frozen=True, slots=True)
class Nest:
    """A function with the parameters `reads`, then `writes`; `loops` as in Stage."""

    function: tirx.PrimFunc
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    loops: tuple[int, ...]
    flops: int


def split(function: tirx.PrimFunc, operands: Sequence[str], new: Callable[[Any], str]) -> Iterator[Nest]:
    """The nests of a function called with these values; `new` names the value that a buffer inside of it becomes."""
    function = inline(function)
    names = dict(zip(function.params, operands, strict=True))
    root = function.body.block
    if root.name_hint != "root":  # a function of a single opaque block
        yield nest(function.body, names)
        return
    names |= {buffer: new(buffer) for buffer in root.alloc_buffers}
    for group in groups(list(root.body) if isinstance(root.body, tirx.SeqStmt) else [root.body]):
        yield nest(group, names)


def inline(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Compute a value where it is read if it is read in a single place, no more often than it was stored."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    if function.body.block.name_hint != "root":
        return function
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        body = schedule.get(block)
        consumers = [schedule.get(one) for one in schedule.get_consumers(block)]
        if len(consumers) != 1 or len(body.writes) != 1 or turns_of(consumers[0]) > turns_of(body):
            continue
        if loads(consumers[0].body)[body.writes[0].source] == 1:
            with contextlib.suppress(s_tir.ScheduleError):
                schedule.compute_inline(block)
    return schedule.mod["main"]


def turns_of(block: Any) -> int:
    """How often a block runs."""
    return prod(int(axis.dom.extent) for axis in block.iter_vars)


def loads(stmt: Stmt) -> Counter[Any]:
    """How many times each buffer is read."""
    found: Counter[Any] = Counter()
    tvm_ffi.structural_walk(stmt, (TensorLoad, lambda load: found.update([load.source])))
    return found


def stores(stmt: Stmt) -> set[Any]:
    """The buffers that are written."""
    found: set[Any] = set()
    tvm_ffi.structural_walk(stmt, (tirx.BufferStore, lambda store: found.add(store.buffer)))
    return found


def variables(stmt: Stmt) -> list[Any]:
    """All variables and buffers in order of their first use."""
    found: dict[Any, None] = {}
    tvm_ffi.structural_walk(stmt, (tirx.Var, found.setdefault))
    return list(found)


def groups(stmts: Sequence[Stmt]) -> Iterator[Stmt]:
    """The statements in order, those that write the same buffer (and all between them) as one."""
    written = [stores(stmt) for stmt in stmts]
    start = 0
    for end in range(1, len(stmts) + 1):
        before, after = set().union(*written[start:end]), set().union(*written[end:])
        if not before & after:
            yield stmts[start] if end == start + 1 else tirx.SeqStmt(stmts[start:end])
            start = end


def nest(stmt: Stmt, names: Mapping[Any, str]) -> Nest:
    """A function of the statement over buffers of its own; `names` says which values its buffers are."""
    _check(stmt)
    stmt = tvm_ffi.structural_map(stmt, (tirx.AttrStmt, _without_pragma), order="post")
    written = stores(stmt)
    used = [var for var in variables(stmt) if var in names]
    order = [*(var for var in used if var not in written), *(var for var in used if var in written)]
    fresh = {var: tirx.decl_buffer(var.shape, var.dtype, f"b{i}") for i, var in enumerate(order)}
    body = tvm_ffi.structural_map(stmt, (tirx.Var, lambda var: fresh.get(var, var)), order="post")
    block = s_tir.SBlock([], [], [], "root", body)
    function = tirx.PrimFunc(list(fresh.values()), s_tir.SBlockRealize([], True, block)).with_attr("s_tir", True)
    reads = tuple(names[var] for var in order if var not in written)
    writes = tuple(names[var] for var in order if var in written)
    return Nest(function, reads, writes, loops(function), turns(stmt))


def _without_pragma(hint: Any) -> Stmt:
    """A pragma is advice to passes that do not run here."""
    return hint.body if str(hint.attr_key).startswith("pragma_") else hint


def _check(stmt: Stmt) -> None:
    """Refuse calls of TVM's runtime and scratch that is too large for a stack."""
    nbytes = 0

    def call(node: Any) -> None:
        if getattr(node.op, "name", "") in PACKED_CALLS:
            raise NotImportedError(f"it calls {node.args[0]}")

    def scratch(node: Any) -> None:
        nonlocal nbytes
        for buffer in [node.buffer] if isinstance(node, tirx.AllocBuffer) else node.alloc_buffers:
            nbytes += prod(int(n) for n in buffer.shape) * np.dtype(str(buffer.dtype)).itemsize

    tvm_ffi.structural_walk(stmt, [(Call, call), ((tirx.AllocBuffer, s_tir.SBlock), scratch)])
    if nbytes > SCRATCH:
        raise NotImportedError(f"it needs {nbytes} bytes of scratch, at most {SCRATCH}")


def turns(stmt: Stmt) -> int:
    """How often the innermost statements run, where the loops say so."""
    if isinstance(stmt, tirx.For):
        return turns(stmt.body) * (int(stmt.extent) if isinstance(stmt.extent, tirx.IntImm) else 1)
    if isinstance(stmt, tirx.SeqStmt):
        return sum(turns(one) for one in stmt)
    if isinstance(stmt, s_tir.SBlockRealize):
        return turns(stmt.block.body)
    return turns(stmt.body) if isinstance(stmt, tirx.AttrStmt) else 1


def loops(function: tirx.PrimFunc) -> tuple[int, ...]:
    """Extents of the outer loops whose turns are independent, as far as TVM can tell."""
    stmt, outer = function.body.block.body, []
    while isinstance(stmt, tirx.For):
        outer.append(stmt)
        stmt = stmt.body
    if not isinstance(stmt, s_tir.SBlockRealize):
        return ()
    block = stmt.block
    if not outer:
        inner = block.body
        parallel = isinstance(inner, tirx.For) and inner.kind == tirx.ForKind.PARALLEL
        return (int(inner.extent),) if parallel else ()
    independent = {
        value
        for axis, value in zip(block.iter_vars, stmt.iter_values, strict=True)
        if axis.iter_type == tirx.IterVar.DataPar
    }
    found = tuple(int(loop.extent) for loop in takewhile(lambda loop: loop.loop_var in independent, outer))
    try:
        cut(function, len(found))
    except s_tir.ScheduleError:
        return ()
    return found


def cut(function: tirx.PrimFunc, axes: int) -> tirx.PrimFunc:
    """The function with its first `axes` loops as one parallel loop (the only one there is); for 0: with none."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    nested = schedule.get_loops(blocks[0])
    if len(blocks) > 1 or not nested:
        return _opaque(function, axes)
    block = schedule.get(blocks[0])
    if axes:
        schedule.parallel(schedule.fuse(*nested[:axes]))
    kinds = [axis.iter_type for axis in block.iter_vars]
    if block.init is not None and len(kinds) == len(nested):
        first = kinds.index(tirx.IterVar.CommReduce)
        if axes < first and contiguous_along(block.body, block.iter_vars[first - 1].var):
            schedule.reorder(*nested[first:], nested[first - 1])
        schedule.decompose_reduction(blocks[0], nested[first])
    return schedule.mod["main"]


def contiguous_along(stmt: Stmt, axis: Any) -> bool:
    """Whether neighbours along the axis are neighbours in memory in all that is read (or the same element)."""
    found: list[bool] = []

    def check(load: Any) -> None:
        found.append(all(axis not in variables(index) for index in list(load.indices)[:-1]))

    tvm_ffi.structural_walk(stmt, (TensorLoad, check))
    return all(found)


def _opaque(function: tirx.PrimFunc, axes: int) -> tirx.PrimFunc:
    """The same where TVM knows no more of the loops than that the outermost one was written as a parallel one."""
    outermost = axes > 0

    def kind(loop: Any) -> Any:
        nonlocal outermost
        found = tirx.ForKind.PARALLEL if outermost else tirx.ForKind.SERIAL
        outermost = False
        return tirx.For(loop.loop_var, loop.min, loop.extent, found, loop.body)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, kind), order="pre"))
