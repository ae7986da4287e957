"""Work stealing: a lane that waits, or is done, takes work items of the slice that another lane is at.

A lane that steals would wait otherwise, and what it takes belongs to a slice that has begun, so all that the slice
waits for is done. The lane whose slice it is takes half of what is left from the front, then half of that, down to a
grain; a thief takes half from the back. The slice is over when the last one who took of it is. Which lane computes an
item changes no bit of it.

Each lane has a line of shared state, guarded by a mutex of the C library: one that is all zeros is unlocked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.executor.table import GRAIN, ROW, STATE, THEFT

Expr = Any
Tables = dict[str, Any]
Call = Callable[[Expr, Expr, Expr], None]  # computes items [lo, hi) of the row whose entries begin here

_ROW, _NEXT, _END, _THIEVES = 5, 6, 7, 8  # behind the mutex, which has five words


def own(tables: Tables, row: Expr, lane: Expr, call: Call) -> None:
    """Carry out a row that others may steal from."""
    rows, state = tables["rows"], tables["state"]
    base, at = T.bind(row * ROW), T.bind(lane * STATE)
    first, count = T.alloc_buffer((1,), "int64", scope="local"), T.alloc_buffer((1,), "int64", scope="local")
    _mutex("lock", state, at)
    for entry, value in ((_ROW, row), (_NEXT, rows[base + 1]), (_END, rows[base + 2])):
        T.buffer_store(state, value, [at + entry])
    T.buffer_store(count, tirx.const(1, "int64"), [0])
    with T.While(count[0] > 0):
        T.buffer_store(first, state[at + _NEXT], [0])
        T.buffer_store(count, _half(tables, base, at), [0])
        T.buffer_store(state, first[0] + count[0], [at + _NEXT])
        _mutex("unlock", state, at)
        with T.If(count[0] > 0), T.Then():
            call(base, first[0], first[0] + count[0])
            _mutex("lock", state, at)
    with T.While(state[at + _THIEVES] > 0):
        pause()


def steal(tables: Tables, thief: Expr, lane: Expr, call: Call, clock: Callable[[], Expr]) -> None:
    """Take part in what a lane is at, if there is something left and nobody else is about to take it."""
    state = tables["state"]
    at = T.bind(lane * STATE)
    first, count = T.alloc_buffer((1,), "int64", scope="local"), T.alloc_buffer((1,), "int64", scope="local")
    with T.If(state[at + _END] > state[at + _NEXT]), T.Then():
        locked = T.bind(T.call_extern("int32", "pthread_mutex_trylock", T.address_of(state[at])))
        with T.If(locked == 0), T.Then():
            row = T.bind(state[at + _ROW])
            base = T.bind(row * ROW)
            T.buffer_store(count, _half(tables, base, at), [0])
            T.buffer_store(first, state[at + _END] - count[0], [0])
            T.buffer_store(state, first[0], [at + _END])
            T.buffer_store(state, state[at + _THIEVES] + tirx.min(count[0], 1), [at + _THIEVES])
            _mutex("unlock", state, at)
            with T.If(count[0] > 0), T.Then():
                begin = T.bind(clock())
                call(base, first[0], first[0] + count[0])
                _note(tables, thief, row, begin, clock())
                _mutex("lock", state, at)
                T.buffer_store(state, state[at + _THIEVES] - 1, [at + _THIEVES])
                _mutex("unlock", state, at)


def pause() -> None:
    T.evaluate(T.call_llvm_intrin("void", "llvm.x86.sse2.pause"))


def _mutex(action: str, state: Any, at: Expr) -> None:
    T.evaluate(T.call_extern("int32", f"pthread_mutex_{action}", T.address_of(state[at])))


def _half(tables: Tables, base: Expr, at: Expr) -> Expr:
    """Of what is left, but not less than a grain where there is as much."""
    left = tables["state"][at + _END] - tables["state"][at + _NEXT]
    return T.bind(tirx.min(left, tirx.max(tables["rows"][base + GRAIN], (left + 1) // 2)))


def forget(tables: Tables, thief: Expr) -> None:
    """What a lane stole in the run before."""
    T.buffer_store(tables["stolen"], tirx.const(0, "int64"), [_log(tables, thief)])


def _note(tables: Tables, thief: Expr, row: Expr, begin: Expr, end: Expr) -> None:
    """Write down what was stolen, as long as there is room."""
    stolen = tables["stolen"]
    log = T.bind(_log(tables, thief))
    with T.If(stolen[log] < stolen[0]), T.Then():
        T.buffer_store(stolen, stolen[log] + 1, [log])
        for i, value in enumerate((row, begin, end)):
            T.buffer_store(stolen, value, [log + stolen[log] * THEFT + i])


def _log(tables: Tables, thief: Expr) -> Expr:
    """Where the number of a lane's thefts is, and behind it they are."""
    return THEFT * (1 + thief * (tables["stolen"][0] + 1))
