"""The compiled interpreter: one function, ENTRY, that carries out any plan handed to it as tables of integers.

The calling thread is pinned to the first lane's core and gets its own affinity back at the end; done here, where no
Python has to be fetched into cold caches, that costs 10 to 20 us less for each run. Each lane is one turn of a parallel
loop over TVM's worker threads. It walks its rows; before a row it polls the counters of the lanes the row waits for,
then it calls the row's function, records when the row began and ended, and raises its own counter. Counters only ever
grow, from run to run, so nothing is reset between runs.

x86 keeps stores in order and loads in order, so a fence is needed for the compiler only; `mfence` and `pause` are both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from gacer_tune.executor.table import COUNTER_STRIDE, ENTRY, ROW
from gacer_tune.executor.threads import MASK_NBYTES
from gacer_tune.kernels.emit.compile import target_of
from gacer_tune.kernels.machine import Machine

Expr = Any
SPINS = 4096  # polls with a pause between them before a waiting lane lets others run


def interpreter(functions: Sequence[tuple[str, int]], machine: Machine) -> Any:
    """Compile ENTRY for the given functions, (symbol, number of operands) each; rows name them by position."""
    with IRBuilder() as builder, T.prim_func():
        T.func_name(ENTRY)
        T.func_attr({"global_symbol": ENTRY})
        tables = {name: T.arg(name, _buffer(name, dtype)) for name, dtype in _TABLES}
        epoch = T.arg("epoch", tirx.Var("epoch", "int64"))
        lanes = T.arg("lanes", tirx.Var("lanes", "int32"))
        _affinity("sched_getaffinity", tables["before"])
        _affinity("sched_setaffinity", tables["own"])
        with T.parallel(0, lanes) as lane:
            _lane(tables, functions, epoch, lane)
        _affinity("sched_setaffinity", tables["before"])
    module = tvm.IRModule({ENTRY: builder.get()})
    return tvm.compile(module, target=target_of(machine))


_TABLES = (
    ("memory", "uint8"),
    ("rows", "int64"),
    ("operands", "int64"),
    ("waits", "int64"),
    ("starts", "int64"),
    ("counters", "int64"),
    ("times", "int64"),
    ("own", "uint8"),
    ("before", "uint8"),
)


def _buffer(name: str, dtype: str) -> Any:
    return tirx.decl_buffer((tirx.Var(f"{name}_size", "int64"),), dtype, name)


def _affinity(function: str, mask: Any) -> None:
    """Of the calling thread, from or to a mask."""
    T.evaluate(T.call_extern("int32", function, 0, tirx.const(MASK_NBYTES, "int64"), T.address_of(mask[0])))


def _lane(tables: dict[str, Any], functions: Sequence[tuple[str, int]], epoch: Expr, lane: Expr) -> None:
    starts, rows, counters, times = (tables[name] for name in ("starts", "rows", "counters", "times"))
    wide = tirx.Cast("int64", lane)
    with T.serial(tirx.const(0, "int64"), starts[wide + 1] - starts[wide]) as step:
        row = T.bind(starts[wide] + step)
        base = T.bind(row * ROW)
        with T.serial(tirx.const(0, "int64"), rows[base + 5] - rows[base + 4]) as wait:
            _poll(tables, epoch, T.bind(rows[base + 4] + wait))
        T.buffer_store(times, _cycles(), [row * 2])
        _dispatch(tables, functions, rows[base], base)
        T.buffer_store(times, _cycles(), [row * 2 + 1])
        _fence()
        T.buffer_store(counters, epoch + step + 1, [wide * COUNTER_STRIDE])


def _poll(tables: dict[str, Any], epoch: Expr, wait: Expr) -> None:
    """Until the lane of the wait has done as many rows of this run as the wait asks for."""
    waits, counters = tables["waits"], tables["counters"]
    spins = T.alloc_buffer((1,), "int32", scope="local")
    T.buffer_store(spins, tirx.const(0, "int32"), [0])
    with T.While(counters[waits[wait * 2] * COUNTER_STRIDE] < epoch + waits[wait * 2 + 1]):
        T.buffer_store(spins, spins[0] + 1, [0])
        with T.If(spins[0] < SPINS):
            with T.Then():
                T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.pause"))
            with T.Else():
                T.evaluate(T.call_extern("int32", "sched_yield"))


def _dispatch(tables: dict[str, Any], functions: Sequence[tuple[str, int]], number: Expr, base: Expr) -> None:
    """Call function `number`: a binary search in code, about log2(functions) compares."""

    def call(low: int, high: int) -> None:
        if high - low == 1:
            _call(tables, *functions[low], base)
            return
        middle = (low + high) // 2
        with T.If(number < middle):
            with T.Then():
                call(low, middle)
            with T.Else():
                call(middle, high)

    call(0, len(functions))


def _call(tables: dict[str, Any], symbol: str, count: int, base: Expr) -> None:
    rows, operands, memory = tables["rows"], tables["operands"], tables["memory"]
    pointers = [T.address_of(memory[operands[rows[base + 3] + i]]) for i in range(count)]
    span = [tirx.Cast("int32", rows[base + 1]), tirx.Cast("int32", rows[base + 2])]
    T.evaluate(T.call_extern("int32", symbol, *pointers, *span))


def _cycles() -> Expr:
    """The time stamp counter, read after all that stands before (it would run ahead of a poll otherwise)."""
    T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.lfence"))
    return T.call_llvm_intrin("int64", "llvm.readcyclecounter")


def _fence() -> None:
    T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.mfence"))
