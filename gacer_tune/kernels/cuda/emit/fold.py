"""Folding values of many threads into one, always in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Function, local, shared, sync
from gacer_tune.kernels.emit import blocks
from gacer_tune.kernels.emit.fold import RUN, Monoid
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
WARP = 32


class Accumulators:
    """Values in registers that fold what they are given, from the value that changes nothing."""

    def __init__(self, monoid: Monoid, count: int = 1, dtype: str = "float32") -> None:
        self.monoid, self.count, self.dtype = monoid, count, dtype
        self.values = local(count, dtype)
        self.clear()

    def clear(self) -> None:
        for i in range(self.count):
            T.buffer_store(self.values, tirx.const(self.monoid.start, self.dtype), [i])

    def add(self, number: int, value: Expr) -> None:
        T.buffer_store(self.values, self.monoid.combine(self.values[number], value), [number])

    def results(self) -> list[Expr]:
        return [T.bind(self.values[i]) for i in range(self.count)]


def each_turn(
    totals: Accumulators, count: int, part: tuple[Expr, int], body: Callable[[Accumulators, Expr], None]
) -> None:
    """Run body(accumulators, turn) for first, first + step, ... below count; part is (first, step).

    Long sums are made of short ones, which bounds their rounding error.
    """
    first, step = part
    steps = ceildiv(count, step)

    def one(sums: Accumulators, number: Expr) -> None:
        turn = number * step + first
        if count % step == 0:
            body(sums, turn)
        else:
            when(turn < count, lambda: body(sums, turn))

    if steps <= RUN:
        with loop(steps) as number:
            one(totals, number)
        return
    sums, runs = Accumulators(totals.monoid, totals.count, totals.dtype), ceildiv(steps, RUN)
    with loop(runs) as run:
        sums.clear()
        with loop(blocks.part(steps, RUN, run, runs)) as number:
            one(sums, run * RUN + number)
        for i in range(totals.count):
            totals.add(i, sums.values[i])


def fold_neighbours(function: Function, monoid: Monoid, value: Expr, threads: int, dtype: str = "float32") -> Expr:
    """What `threads` neighbouring threads (a power of 2) fold into; each of them has it. All threads take part."""
    step = 1
    while step < min(threads, WARP):
        other = T.call_extern(dtype, "__shfl_xor_sync", tirx.const(0xFFFFFFFF, "uint32"), value, step)
        value = T.bind(monoid.combine(value, T.bind(other)))
        step *= 2
    if threads <= WARP:
        return value
    warps = shared(function.threads // WARP, dtype)
    T.buffer_store(warps, value, [function.thread // WARP])
    sync()
    first = function.thread // threads * (threads // WARP)
    for i in range(threads // WARP):
        value = T.bind(warps[first + i] if i == 0 else monoid.combine(value, warps[first + i]))
    sync()  # the next fold may use the same memory
    return value


def fold_strided(
    function: Function, monoid: Monoid, values: Sequence[Expr], lanes: int, dtype: str = "float32"
) -> list[Expr]:
    """What threads that are equal modulo `lanes` fold into, value by value; each has it. All threads take part."""
    splits, width = function.threads // lanes, len(values)
    if splits == 1:
        return list(values)
    kept = shared(function.threads * width, dtype)
    for i, value in enumerate(values):
        T.buffer_store(kept, value, [i * function.threads + function.thread])
    sync()
    found = []
    for i in range(width):
        at = i * function.threads + function.thread % lanes
        value = T.bind(kept[at])
        for split in range(1, splits):
            value = T.bind(monoid.combine(value, kept[at + split * lanes]))
        found.append(value)
    sync()
    return found
