"""Sums of products of values whose axes have names, spelt as Transpose, Reshape, MatMul, Mul, ReduceSum and Slice.

What can be is a product of matrices: axes in both operands and in the result are its batch, those of the left one only
its rows, those of the right one only its columns, and those that the result lacks are summed over. Transposes and most
reshapes are views later, so nothing is copied for them; constants are turned here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import TensorType
from gacer_tune.frontend.nodes import Array


@dataclass(frozen=True, slots=True)
class Term:
    """A float32 value, a letter for each of its axes, and what it is where it is constant."""

    axes: str
    shape: tuple[int, ...]
    name: str
    array: Array | None = None

    def extent(self, axes: str) -> int:
        """Elements along these axes, 1 where it has none of them."""
        return math.prod(self.shape[self.axes.index(axis)] for axis in axes if axis in self.axes)

    def extents(self, axes: str) -> tuple[int, ...]:
        """Of each axis, 1 where it has none of that name."""
        return tuple(self.extent(axis) for axis in axes)

    def permuted(self, axes: str) -> tuple[int, ...]:
        """The order of its own axes that `axes` names, which may name others, too."""
        return tuple(self.axes.index(axis) for axis in axes if axis in self.axes)


@dataclass(slots=True)
class Contraction:
    """Collects the nodes; types: those of all values it makes."""

    emit: Emitter
    types: dict[str, TensorType] = field(default_factory=dict)

    def transposed(self, term: Term, axes: str) -> Term:
        """ab -> ba"""
        order = term.permuted(axes)
        if order == tuple(range(len(order))):
            return term
        shape = tuple(term.shape[axis] for axis in order)
        if term.array is not None:
            return Term(axes, shape, "", term.array.transpose(order))
        return self._made(axes, shape, self.emit.op("Transpose", term.name, perm=order))

    def reshaped(self, term: Term, axes: str, shape: tuple[int, ...]) -> Term:
        """The same elements under other axes."""
        if shape == term.shape:
            return replace(term, axes=axes)
        if term.array is not None:
            return Term(axes, shape, "", term.array.reshape(shape))
        return self._made(axes, shape, self.emit.reshape(term.name, shape))

    def diagonal(self, term: Term, axis: str) -> Term:
        """aba -> ba: elements whose index along two axes of one name is the same."""
        first, second = [at for at, name in enumerate(term.axes) if name == axis][:2]
        rest = [at for at in range(len(term.axes)) if at not in (first, second)]
        axes, count = "".join(term.axes[at] for at in rest) + axis, term.shape[first]
        shape = tuple(term.shape[at] for at in rest)
        if term.array is not None:
            return Term(axes, (*shape, count), "", term.array.diagonal(0, first, second))
        name = self.emit.op("Transpose", term.name, perm=[*rest, first, second])
        flat = self.emit.reshape(name, (*shape, count * count))
        limits = (self.emit.limit(number) for number in (0, count * count, len(shape), count + 1))
        return self._made(axes, (*shape, count), self.emit.op("Slice", flat, *limits))

    def summed(self, term: Term, axes: str) -> Term:
        """abc over b -> ac"""
        if not axes:
            return term
        kept = "".join(axis for axis in term.axes if axis not in axes)
        numbers = tuple(term.axes.index(axis) for axis in axes)
        if term.array is not None:
            return Term(kept, term.extents(kept), "", np.asarray(term.array.sum(numbers)))
        name = self.emit.reduce("ReduceSum", term.name, numbers, keepdims=0)
        return self._made(kept, term.extents(kept), name)

    def product(self, left: Term, right: Term, kept: str) -> Term:
        """The product of two values, summed over all axes that are not in `kept`."""
        left = self.summed(left, "".join(a for a in left.axes if a not in right.axes + kept))
        right = self.summed(right, "".join(a for a in right.axes if a not in left.axes + kept))
        over = "".join(axis for axis in left.axes if axis in right.axes and axis not in kept)
        if not over or set(left.axes) == set(right.axes):
            return self.summed(self.multiplied(left, right, kept, over), over)
        if _goes_right(left, right, over):
            left, right = right, left
        shared = any(axis in kept for axis in left.axes if axis in right.axes)
        if right.array is not None and not shared:
            return self._weighted(left, right, over)
        return self._batched(left, right, kept, over)

    def multiplied(self, left: Term, right: Term, kept: str, over: str) -> Term:
        """Element by element; the axes of `over` come last."""
        axes = "".join(axis for axis in kept if axis in left.axes + right.axes) + over
        names = [self.named(self._spread(term, axes)) for term in (left, right)]
        shape = tuple(max(pair) for pair in zip(left.extents(axes), right.extents(axes), strict=True))
        return self._made(axes, shape, self.emit.op("Mul", *names))

    def named(self, term: Term) -> str:
        """The name of a value, which a constant gets here."""
        return term.name if term.array is None else self.emit.constant(term.array, "constant")

    def _spread(self, term: Term, axes: str) -> Term:
        """In this order of axes from its own first one on, of length 1 where the value has none of that name."""
        axes = _from_own(term, axes)
        return self.reshaped(self.transposed(term, axes), axes, term.extents(axes))

    def _weighted(self, left: Term, right: Term, over: str) -> Term:
        """Rows times a constant matrix."""
        rows, columns = _without(left.axes, over), _without(right.axes, over)
        lead = left.extents(rows) or (1,)
        a = self.reshaped(self.transposed(left, rows + over), "", (*lead, left.extent(over)))
        b = self.reshaped(self.transposed(right, over + columns), "", (right.extent(over), right.extent(columns)))
        made = self._times(a, b, (*lead, right.extent(columns)))
        return self.reshaped(made, rows + columns, (*left.extents(rows), *right.extents(columns)))

    def _batched(self, left: Term, right: Term, kept: str, over: str) -> Term:
        """Of the rows those that are neighbours in memory are one axis of the product, the others are batch axes."""
        rows, columns = (_run(term.axes, one.axes) for term, one in ((left, right), (right, left)))
        batch = "".join(a for a in kept if a in left.axes + right.axes and a not in rows + columns)
        sizes = tuple(max(pair) for pair in zip(left.extents(batch), right.extents(batch), strict=True))
        m, n, k = left.extent(rows), right.extent(columns), left.extent(over)
        a = self.reshaped(self.transposed(left, batch + rows + over), "", (*left.extents(_from_own(left, batch)), m, k))
        b = self.reshaped(
            self.transposed(right, batch + over + columns), "", (*right.extents(_from_own(right, batch)), k, n)
        )
        made = self._times(a, b, (*sizes, m, n))
        shape = (*sizes, *left.extents(rows), *right.extents(columns))
        return self.reshaped(made, batch + rows + columns, shape)

    def _times(self, left: Term, right: Term, shape: tuple[int, ...]) -> Term:
        return self._made("", shape, self.emit.op("MatMul", self.named(left), self.named(right)))

    def _made(self, axes: str, shape: tuple[int, ...], name: str) -> Term:
        self.types[name] = TensorType(onnx.TensorProto.FLOAT, shape)
        return Term(axes, shape, name)


def _from_own(term: Term, axes: str) -> str:
    """Without those in front that the term does not have: abc for one with b -> bc."""
    return axes[next((at for at, axis in enumerate(axes) if axis in term.axes), len(axes)) :]


def _without(axes: str, others: str) -> str:
    return "".join(axis for axis in axes if axis not in others)


def _run(axes: str, others: str) -> str:
    """The last axes that are neighbours among those not in `others`: abxc without x -> c, abcx -> abc."""
    found = ""
    for axis in reversed(axes):
        if axis not in others:
            found = axis + found
        elif found:
            break
    return found


def _goes_right(left: Term, right: Term, over: str) -> bool:
    """Whether the left one is better on the right: a constant, or one whose rows are read in place there."""
    if (left.array is None) != (right.array is None):
        return left.array is not None
    rows = _without(left.axes, right.axes)
    return right.axes[-1] in over and (left.axes[-1] in rows or left.extent(rows) == 1)


def contracted(work: Contraction, terms: Sequence[Term], output: str) -> Term:
    """The sum of products of all terms with the axes `output`, two at a time in the order that numpy finds cheap."""
    left = list(terms)
    for step in _order([term.axes for term in left], [term.shape for term in left], output):
        taken = [left.pop(number) for number in sorted(step, reverse=True)][::-1]
        while len(taken) > 1:
            others = "".join(term.axes for term in (*left, *taken[2:]))
            taken[:2] = [work.product(taken[0], taken[1], "".join(dict.fromkeys(output + others)))]
        left += taken
    term = work.summed(left[0], _without(left[0].axes, output))
    return work.transposed(term, output)


def _order(axes: Sequence[str], shapes: Sequence[tuple[int, ...]], output: str) -> list[tuple[int, ...]]:
    """Which of the terms are multiplied at each step; the result comes last in the list."""
    if len(axes) < 3:
        return [tuple(range(len(axes)))]
    like = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    path = np.einsum_path(f"{','.join(axes)}->{output}", *like, optimize="greedy")[0]
    return [tuple(step) for step in path[1:]]
