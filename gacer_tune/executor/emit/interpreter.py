"""The compiled interpreter: one function, ENTRY, that carries out any plan handed to it as tables of integers.

The calling thread is pinned to the first lane's core and gets its own affinity back at the end; done here, where no
Python has to be fetched into cold caches, that costs 10 to 20 us less for each run. Each lane is one turn of a parallel
loop over TVM's worker threads. It walks its rows; before a row it polls the counters of the lanes the row waits for,
then it calls the row's function, records when the row began and ended, and raises its own counter. Counters only ever
grow, from run to run, so nothing is reset between runs. Where the plan says so, lanes steal instead of waiting.

x86 keeps stores in order and loads in order, so a fence is needed for the compiler only; `mfence` and `pause` are both.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from gacer_tune.executor import amx
from gacer_tune.executor.emit.dispatch import CALL
from gacer_tune.executor.emit.stealing import Tables, forget, own, pause, steal
from gacer_tune.executor.table import COUNTER_STRIDE, ENTRY, GRAIN, ROW
from gacer_tune.executor.threads import MASK_NBYTES
from gacer_tune.kernels.emit.compile import target_of
from gacer_tune.kernels.machine import Machine

Expr = Any
zero = tirx.const(0, "int64")
SPINS = 4096  # polls with a pause between them before a waiting lane lets others run


def interpreter(machine: Machine) -> Any:
    """Compile ENTRY; it calls kernels by CALL, see dispatch.py."""
    with IRBuilder() as builder, T.prim_func():
        T.func_name(ENTRY)
        T.func_attr({"global_symbol": ENTRY})
        tables = {name: T.arg(name, _buffer(name, dtype)) for name, dtype in _TABLES}
        epoch = T.arg("epoch", tirx.Var("epoch", "int64"))
        lanes = T.arg("lanes", tirx.Var("lanes", "int32"))
        if machine.tiles == "amx":  # who loads the module without Python has not asked for it
            request = (tirx.const(value, "int64") for value in (amx.ARCH_PRCTL, amx.REQUEST, amx.TILE_DATA))
            T.evaluate(T.call_extern("int64", "syscall", *request))
        _affinity("sched_getaffinity", tables["before"])
        _affinity("sched_setaffinity", tables["own"])
        with T.parallel(0, lanes) as lane:
            _lane(tables, epoch, T.bind(tirx.Cast("int64", lane)), lanes)
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
    ("state", "int64"),
    ("stolen", "int64"),
    ("own", "uint8"),
    ("before", "uint8"),
)


def _buffer(name: str, dtype: str) -> Any:
    return tirx.decl_buffer((tirx.Var(f"{name}_size", "int64"),), dtype, name)


def _affinity(function: str, mask: Any) -> None:
    """Of the calling thread, from or to a mask."""
    T.evaluate(T.call_extern("int32", function, 0, tirx.const(MASK_NBYTES, "int64"), T.address_of(mask[0])))


def _lane(tables: Tables, epoch: Expr, lane: Expr, lanes: Expr) -> None:
    starts, rows, counters, times = (tables[name] for name in ("starts", "rows", "counters", "times"))
    with T.If(_steals(tables)), T.Then():
        forget(tables, lane)
    with T.serial(zero, starts[lane + 1] - starts[lane]) as step:
        row = T.bind(starts[lane] + step)
        base = T.bind(row * ROW)
        with T.serial(zero, rows[base + 5] - rows[base + 4]) as wait:
            at = T.bind((rows[base + 4] + wait) * 2)
            _poll(tables, lane, tables["waits"][at], epoch + tables["waits"][at + 1])
        T.buffer_store(times, _cycles(), [row * 2])
        with T.If(rows[base + GRAIN] > 0):
            with T.Then():
                own(tables, row, lane, partial(_call, tables))
            with T.Else():
                _call(tables, base, rows[base + 1], rows[base + 2])
        T.buffer_store(times, _cycles(), [row * 2 + 1])
        _fence()
        T.buffer_store(counters, epoch + step + 1, [lane * COUNTER_STRIDE])
    with T.If(_steals(tables)), T.Then(), T.serial(zero, tirx.Cast("int64", lanes)) as other:
        count = T.bind(starts[other + 1] - starts[other])
        with T.If(count > 0), T.Then():  # the counter of a lane without rows says nothing of this run
            _poll(tables, lane, other, epoch + count)


def _steals(tables: Tables) -> Expr:
    return tables["stolen"][0] > 0


def _poll(tables: Tables, waiting: Expr, lane: Expr, count: Expr) -> None:
    """Until a lane has done as many rows of this run."""
    spins = T.alloc_buffer((1,), "int32", scope="local")
    T.buffer_store(spins, tirx.const(0, "int32"), [0])
    with T.While(tables["counters"][lane * COUNTER_STRIDE] < count):
        T.buffer_store(spins, spins[0] + 1, [0])
        with T.If(_steals(tables)), T.Then():
            steal(tables, waiting, lane, partial(_call, tables), _cycles)
        with T.If(spins[0] < SPINS):
            with T.Then():
                pause()
            with T.Else():
                T.evaluate(T.call_extern("int32", "sched_yield"))


def _call(tables: Tables, base: Expr, lo: Expr, hi: Expr) -> None:
    """Items [lo, hi) of the row whose entries begin at base."""
    rows, operands, memory = tables["rows"], tables["operands"], tables["memory"]
    places = T.address_of(memory[0]), T.address_of(operands[rows[base + 3]])
    span = (tirx.Cast("int32", end) for end in (lo, hi))
    T.evaluate(T.call_extern("int32", CALL, *places, rows[base], *span))


def _cycles() -> Expr:
    """The time stamp counter, read after all that stands before (it would run ahead of a poll otherwise)."""
    T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.lfence"))
    return T.call_llvm_intrin("int64", "llvm.readcyclecounter")


def _fence() -> None:
    T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.mfence"))
