"""Emits `Stage` kernels for a GPU: neighbouring threads make neighbouring turns of TVM's loops."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import PointerType, PrimType

from gacer_tune.kernels.cuda.fallback import StageTile
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.emit.fallback import plain
from gacer_tune.kernels.emit.function import stored
from gacer_tune.kernels.emit.imported import imported
from gacer_tune.kernels.emit.nests import cut
from gacer_tune.kernels.fallback import Stage
from gacer_tune.kernels.machine import MACHINES

Stmt = Any


def emit(spec: Stage, tile: StageTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: those the nest reads, those it writes."""
    function = cut(imported(spec.model).nests[spec.number].function, len(spec.loops))
    pointers = [
        tirx.Var(f"p{i}", PointerType(PrimType(stored(tensor.dtype)), "global"))
        for i, tensor in enumerate(spec.tensors(gpu))
    ]
    lo, hi = tirx.Var("lo", "int32"), tirx.Var("hi", "int32")
    buffers = [tirx.DeclBuffer(buffer, data=p) for buffer, p in zip(function.params, pointers, strict=True)]
    flat = tirx.PrimFunc([*pointers, lo, hi], tirx.SeqStmt([*buffers, function.body]))
    loops = plain(flat, MACHINES["x86-64"]).body  # what these passes do is the same for all processors
    block, thread = tirx.Var("block", "int32"), tirx.Var("thread", "int32")
    body = in_registers(by_threads(loops, (block + lo) * tile.threads + thread))
    body = bound(bound(body, thread, "threadIdx.x", tirx.const(tile.threads, "int32")), block, "blockIdx.x", hi - lo)
    attributes = tvm.ir.make_node("ir.DictAttrs", **{"tirx.noalias": True, "global_symbol": name})
    return tirx.PrimFunc([*pointers, lo, hi], body, attrs=attributes)


def bound(body: Stmt, var: Any, tag: str, extent: Any) -> Stmt:
    axis = tirx.IterVar(tvm.ir.Range(0, extent), var, tirx.IterVar.ThreadIndex, tag)
    return tirx.AttrStmt(axis, "thread_extent", extent, body)


def by_threads(body: Stmt, number: Any) -> Stmt:
    """for v in parallel(n): ... -> if number < n: ... with v = number. A body without such a loop is thread 0's."""
    cuts = 0

    def to_thread(loop: Any) -> Any:
        nonlocal cuts
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        cuts += 1
        turn = tirx.Cast(str(loop.loop_var.ty.dtype), number)
        inner = tvm_ffi.structural_map(
            loop.body, (tirx.Var, lambda var: turn if var.same_as(loop.loop_var) else var), order="post"
        )
        return tirx.IfThenElse(number < loop.extent, inner, None)

    found = tvm_ffi.structural_map(body, (tirx.For, to_thread), order="post")
    return found if cuts else tirx.IfThenElse(number < 1, body, None)


def in_registers(body: Stmt) -> Stmt:
    """Scratch is each thread's own."""
    made: dict[Any, Any] = {}

    def scratch(node: Any) -> Any:
        buffer = node.buffer
        made[buffer] = tirx.decl_buffer(buffer.shape, buffer.dtype, buffer.name, scope="local")
        return tirx.AllocBuffer(made[buffer], node.annotations)

    found = tvm_ffi.structural_map(body, (tirx.AllocBuffer, scratch), order="post")
    return tvm_ffi.structural_map(found, (tirx.Var, lambda var: made.get(var, var)), order="post")
