"""One function that calls any kernel of a module by its number: `CALL(memory, operands, number, lo, hi)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

Expr = Any
CALL = "gacer_tune_call"


def dispatcher(functions: Sequence[tuple[str, int]]) -> tirx.PrimFunc:
    """For functions (symbol, number of operands): a binary search in code, about log2(functions) compares.

    memory: the block that offsets count in; operands: byte offsets of a kernel's operands, int64.
    """
    memory = tirx.Var("memory", PointerType(PrimType("uint8")))
    operands = tirx.Var("operands", PointerType(PrimType("int64")))
    number, lo, hi = tirx.Var("number", "int64"), tirx.Var("lo", "int32"), tirx.Var("hi", "int32")
    zero = tirx.const(0, "int32")
    with IRBuilder() as builder, T.attr(zero, "kernel", zero):
        block = T.decl_buffer((tirx.const(1 << 62, "int64"),), "uint8", data=memory)
        offsets = T.decl_buffer((tirx.const(1 << 59, "int64"),), "int64", data=operands)

        def call(low: int, high: int) -> None:
            if high - low == 1:
                symbol, count = functions[low]
                T.evaluate(
                    T.call_extern("int32", symbol, *(T.address_of(block[offsets[i]]) for i in range(count)), lo, hi)
                )
                return
            middle = (low + high) // 2
            with T.If(number < middle):
                with T.Then():
                    call(low, middle)
                with T.Else():
                    call(middle, high)

        call(0, len(functions))
    done = tirx.SeqStmt([builder.get().body, tirx.Return(zero)])
    attributes = tvm.ir.make_node("ir.DictAttrs", **{"global_symbol": CALL})
    return tirx.PrimFunc([memory, operands, number, lo, hi], done, ret_type=PrimType("int32"), attrs=attributes)
