"""Emits `Stage` kernels; see gacer_tune.kernels.fallback for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import PointerType, PrimType

from gacer_tune.kernels.emit.compile import target_of
from gacer_tune.kernels.emit.function import stored
from gacer_tune.kernels.emit.imported import imported
from gacer_tune.kernels.emit.nests import cut
from gacer_tune.kernels.fallback import Stage, StageTile
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import Tensor

Stmt = Any


def emit(spec: Stage, tile: StageTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: those the nest reads, those it writes."""
    function = cut(imported(spec.model).nests[spec.number].function, tile.axes)
    return finished(function, spec.tensors(machine), tile.rows, machine, name)


def finished(
    function: tirx.PrimFunc, tensors: Sequence[Tensor], rows: int, machine: Machine, name: str
) -> tirx.PrimFunc:
    """The kernel of a function over buffers: one over pointers, an item is `rows` turns of the parallel loop."""
    pointers = [tirx.Var(f"p{i}", PointerType(PrimType(stored(tensor.dtype)))) for i, tensor in enumerate(tensors)]
    lo, hi, zero = tirx.Var("lo", "int32"), tirx.Var("hi", "int32"), tirx.const(0, "int32")
    buffers = [tirx.DeclBuffer(buffer, data=p) for buffer, p in zip(function.params, pointers, strict=True)]
    flat = tirx.PrimFunc([*pointers, lo, hi], tirx.SeqStmt([*buffers, function.body]))
    body = ranged(plain(flat, machine).body, rows, lo, hi)
    done = tirx.SeqStmt([tirx.AttrStmt(zero, "kernel", zero, body), tirx.Return(zero)])
    attributes = tvm.ir.make_node("ir.DictAttrs", **{"tirx.noalias": True, "global_symbol": name})
    return tirx.PrimFunc([*pointers, lo, hi], done, ret_type=PrimType("int32"), attrs=attributes)


def plain(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    """Blocks and buffers of several axes become loops over flat ones."""
    passes = [
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.RewriteUnsafeSelect(),
        tirx.transform.StmtSimplify(),
    ]
    return _through(nested(function, machine), passes)


def nested(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    """Blocks become loops; buffers keep their axes."""
    passes = [
        tirx.transform.BindTarget(target_of(machine)),
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
    ]
    return _through(function.with_attrs({"s_tir": True, "tirx.noalias": True}), passes)


def _through(function: tirx.PrimFunc, passes: Sequence[Any]) -> tirx.PrimFunc:
    return tvm.transform.Sequential(passes)(tvm.IRModule({"main": function}))["main"]


def ranged(body: Stmt, rows: int, lo: Any, hi: Any) -> Stmt:
    """for v in parallel(n): ... -> for v in range(lo * rows, min(hi * rows, n)): ...

    A body without a parallel loop is one item.
    """
    cuts = 0

    def to_range(loop: Any) -> Any:
        nonlocal cuts
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        cuts += 1
        dtype = str(loop.loop_var.ty.dtype)
        first, last = (tirx.Cast(dtype, end) * tirx.const(rows, dtype) for end in (lo, hi))
        turn = tirx.Var(loop.loop_var.name, dtype)
        inner = tvm_ffi.structural_map(
            loop.body, (tirx.Var, lambda var: turn + first if var.same_as(loop.loop_var) else var), order="post"
        )
        count = tirx.min(last, loop.extent) - first
        return tirx.For(turn, tirx.const(0, dtype), count, tirx.ForKind.SERIAL, inner)

    found = tvm_ffi.structural_map(body, (tirx.For, to_range), order="post")
    if cuts:
        return found
    return tirx.For(tirx.Var("item", "int32"), tirx.const(0, "int32"), hi - lo, tirx.ForKind.SERIAL, found)
