"""A value's place in memory: buffer, offset, strides. Reshape, transpose, slice and broadcast change nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from gacer_tune.kernels.tensor import Tensor, contiguous
from gacer_tune.kernels.views import merged

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class View:
    """`offset` and the strides of `tensor` count elements from the start of `buffer`."""

    buffer: int
    offset: int
    tensor: Tensor

    @property
    def shape(self) -> Shape:
        return self.tensor.shape

    @property
    def strides(self) -> Shape:
        return self.tensor.strides

    @property
    def dtype(self) -> str:
        return self.tensor.dtype

    def as_strided(self, shape: Shape, strides: Shape, offset: int = 0) -> View:
        return replace(self, offset=self.offset + offset, tensor=Tensor(shape, strides, self.dtype))

    def permute(self, order: tuple[int, ...]) -> View:
        """(a, b, c) with order (0, 2, 1) -> (a, c, b)."""
        return self.as_strided(tuple(self.shape[a] for a in order), tuple(self.strides[a] for a in order))

    def slice(self, axis: int, start: int, length: int, step: int = 1) -> View:
        """Elements start, start + step, ... of one axis; step may be negative."""
        shape, strides = list(self.shape), list(self.strides)
        offset = start * strides[axis]
        shape[axis], strides[axis] = length, strides[axis] * step
        return self.as_strided(tuple(shape), tuple(strides), offset)

    def broadcast(self, shape: Shape) -> View:
        """numpy's rules: missing leading axes and axes of length 1 get stride 0."""
        extra = len(shape) - len(self.shape)
        strides = (0,) * extra + tuple(0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True))
        return self.as_strided(shape, strides)

    def reshape(self, shape: Shape) -> View | None:
        """The same elements in row-major order under another shape, or None when no strides can say it."""
        if prod(shape) != prod(self.shape):
            raise ValueError(f"reshape of {self.shape} to {shape}")
        blocks = merged_axes(self.shape, self.strides)
        strides: list[int] = []
        wanted = list(shape)
        for extent, stride in blocks:
            inside: list[int] = []
            while wanted and (prod(inside) < extent or wanted[0] == 1):
                inside.append(wanted.pop(0))
            if prod(inside) != extent:
                return None
            strides += [stride * s for s in contiguous(tuple(inside))]
        strides += [1] * len(wanted)  # only axes of length 1 are left
        return self.as_strided(shape, tuple(strides))


def merged_axes(shape: Shape, strides: Shape) -> list[tuple[int, int]]:
    """(extent, stride) of the fewest axes that address the same elements in the same order."""
    found = merged([Tensor(shape, strides)])[0]
    return list(zip(found.shape, found.strides, strict=True))


def flatten(views: list[View], axes: int) -> list[View] | None:
    """Merge the first `axes` axes of all views into one, or None when one of them cannot: (n, h, w, c) -> (nhw, c)."""
    shape = views[0].shape
    found = []
    for view in views:
        blocks = merged_axes(shape[:axes], view.strides[:axes])
        if len(blocks) > 1 or view.shape != shape[:axes] + view.shape[axes:]:
            return None
        stride = blocks[0][1] if blocks else 0
        found.append(view.as_strided((prod(shape[:axes]), *view.shape[axes:]), (stride, *view.strides[axes:])))
    return found


def ordered(shape: Shape, order: tuple[int, ...] | None) -> Shape:
    """Dense strides with the axes in memory order `order` (outermost first), row-major for None."""
    if order is None:
        return contiguous(shape)
    steps = contiguous(tuple(shape[a] for a in order))
    strides = [0] * len(shape)
    for axis, step in zip(order, steps, strict=True):
        strides[axis] = step
    return tuple(strides)


def memory_order(view: View) -> tuple[int, ...]:
    """Axes from the largest stride to the smallest; broadcast axes and ties keep their place."""
    rank = range(len(view.shape))
    if any(s == 0 and n > 1 for s, n in zip(view.strides, view.shape, strict=True)):
        return tuple(rank)
    weight = [s if n > 1 else None for s, n in zip(view.strides, view.shape, strict=True)]
    real = iter(sorted((a for a in rank if weight[a] is not None), key=lambda a: -view.strides[a]))
    return tuple(next(real) if weight[a] is not None else a for a in rank)
