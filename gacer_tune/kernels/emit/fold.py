"""Folding many elements into one, with vectors and in one fixed order.

The order depends on the number of elements and on the machine only, so all variants of a kernel give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import Parts, block_of, nest, pieces, run, splat
from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Combine = Callable[[Expr, Expr], Expr]
CHAINS = 4  # independent accumulators: an addition takes as many cycles
RUN = 256  # terms added up before they join the total: bounds the rounding error of long sums


@dataclass(frozen=True, slots=True)
class Monoid:
    """An associative function and the value that changes nothing."""

    combine: Combine
    start: float


SUM = Monoid(lambda x, y: x + y, 0)
PROD = Monoid(lambda x, y: x * y, 1)


def largest(dtype: str) -> Monoid:
    return Monoid(tirx.max, float("-inf") if dtype.startswith("float") else int(tirx.min_value(dtype).value))


def smallest(dtype: str) -> Monoid:
    return Monoid(tirx.min, float("inf") if dtype.startswith("float") else int(tirx.max_value(dtype).value))


class Fold:
    """Folds runs of `extent` elements, as many as `take` is called or looped over, into one element.

    Whole vectors go to the accumulators in turn, the tail to narrower ones of its own; `result` joins them in a tree.
    """

    def __init__(self, monoid: Monoid, extent: int, vector: int, dtype: str = "float32") -> None:
        self.monoid, self.vector, self.dtype = monoid, vector, dtype
        self.whole = extent // vector
        self.chains = min(CHAINS, self.whole)
        self.tail = pieces(self.whole * vector, extent, vector)
        size = self.chains * vector + sum(width for _, width in self.tail)
        self.accumulators = T.alloc_buffer((size,), dtype, scope="local")
        start(self.accumulators, monoid, pieces(0, size, vector), dtype)

    def take(self, term: Callable[[Expr, int], Expr]) -> None:
        """Fold in one run; term(first, width) gives `width` of its elements from `first` on."""
        vector, chains = self.vector, self.chains
        turns = self.whole // chains if chains else 0

        def turn(buffer: Any, number: Expr, count: int = chains) -> None:
            for chain in range(count):
                self._add(buffer, (chain * vector, vector), term((number * chains + chain) * vector, vector))

        if turns > RUN:
            self._runs(turns, turn)
        elif turns:
            with loop(turns) as number:
                turn(self.accumulators, number)
        turn(self.accumulators, turns, self.whole - turns * chains)
        at = chains * vector
        for first, width in self.tail:
            self._add(self.accumulators, (at, width), term(first, width))
            at += width

    def _runs(self, turns: int, turn: Callable[[Any, Expr], None]) -> None:
        """RUN turns at a time by themselves, then to the accumulators."""
        vectors = [(chain * self.vector, self.vector) for chain in range(self.chains)]
        sums = T.alloc_buffer((self.chains * self.vector,), self.dtype, scope="local")
        with loop(ceildiv(turns, RUN)) as number:
            start(sums, self.monoid, vectors, self.dtype)
            with block_of(turns, RUN, number) as step:
                turn(sums, step)
            for place in vectors:
                self._add(self.accumulators, place, sums[run(*place)])

    def result(self) -> Expr:
        """The element that all runs fold into."""
        combine, vector = self.monoid.combine, self.vector
        parts = [self.accumulators[run(chain * vector, vector)] for chain in range(self.chains)]
        while len(parts) > 1:
            parts = [combine(*parts[i : i + 2]) if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
        value = T.bind(parts[0]) if parts else None
        rest = self._rest()
        width = vector if self.chains else self.tail[0][1]
        while True:
            if width in rest:
                value = rest[width] if value is None else T.bind(combine(value, rest[width]))
            if width == 1:
                return value
            width //= 2
            value = T.bind(combine(*halves(value)))

    def _rest(self) -> dict[int, Expr]:
        """The tail's accumulators by width; a tail has at most one of each."""
        at, found = self.chains * self.vector, {}
        for _, width in self.tail:
            found[width] = T.bind(self.accumulators[run(at, width)])
            at += width
        return found

    def _add(self, buffer: Any, place: tuple[int, int], value: Expr) -> None:
        where = run(*place)
        T.buffer_store(buffer, self.monoid.combine(buffer[where], value), [where])


def start(buffer: Any, monoid: Monoid, parts: Parts, dtype: str) -> None:
    """Set the vectors of an accumulator buffer to the value that changes nothing."""
    for first, width in parts:
        T.buffer_store(buffer, splat(monoid.start, width, dtype), [run(first, width)])


def fold_lanes(
    monoid: Monoid, parts: Parts, extents: Sequence[int], term: Callable[[tuple[Expr, ...], int, int], Expr], dtype: str
) -> Any:
    """Fold a tile of lanes, each on its own, over all indices of `extents`; the result is a buffer of the lanes.

    term(index, offset, width) gives the vector of parts at an index. Runs of terms are added up by themselves, then to
    the total.
    """
    *outer, extent = extents
    size = sum(width for _, width in parts)
    totals, sums = (T.alloc_buffer((size,), dtype, scope="local") for _ in range(2))
    runs = ceildiv(extent, RUN)
    single = prod(outer) * runs == 1

    def add(buffer: Any, place: tuple[int, int], value: Expr) -> None:
        T.buffer_store(buffer, monoid.combine(buffer[run(*place)], value), [run(*place)])

    def add_run(index: tuple[Expr, ...]) -> None:
        start(sums, monoid, parts, dtype)
        with block_of(extent, RUN, index[-1]) as step:
            for place in parts:
                add(sums, place, term((*index[:-1], step), *place))
        for place in () if single else parts:
            add(totals, place, sums[run(*place)])

    if not single:
        start(totals, monoid, parts, dtype)
    nest((*outer, runs), add_run)
    return sums if single else totals


def halves(value: Expr) -> tuple[Expr, Expr]:
    """The lower and the upper half of a vector's lanes."""
    width = scalar.lanes(value) // 2
    low, high = ([tirx.const(i + first, "int32") for i in range(width)] for first in (0, width))
    return tirx.Shuffle([value], low), tirx.Shuffle([value], high)
