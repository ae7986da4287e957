"""Other views of the same memory: axes dropped, reordered or walked as one. They make index arithmetic cheap."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.kernels.tensor import Tensor


def part_of(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """The view along some axes only, in the given order (the others stay at index 0).

    (2, 3, 4) with axes (2, 0) -> (4, 2)
    """
    shape, strides = (tuple(values[a] for a in axes) for values in (tensor.shape, tensor.strides))
    return Tensor(shape, strides, tensor.dtype)


def joined(outer: Tensor, inner: Tensor) -> Tensor:
    """One view whose axes are those of outer, then those of inner."""
    return Tensor(outer.shape + inner.shape, outer.strides + inner.strides, inner.dtype)


def merged(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Views of equal shape with as few axes as walk the same elements in the same order.

    Axes of extent 1 go, neighbours which every view walks as one are fused: (8, 1, 4, 5) dense -> (160,). What is
    left may have no axis at all.
    """
    shape = tensors[0].shape
    groups: list[list[int]] = []  # axes of each fused one
    for axis in (a for a, extent in enumerate(shape) if extent > 1):
        if groups and all(t.strides[groups[-1][-1]] == t.strides[axis] * shape[axis] for t in tensors):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    extents = []
    for group in groups:
        extent = 1
        for axis in group:
            extent *= shape[axis]
        extents.append(extent)
    return [Tensor(tuple(extents), tuple(t.strides[g[-1]] for g in groups), t.dtype) for t in tensors]


def merged_outer(tensors: Sequence[Tensor], inner: int) -> list[Tensor]:
    """`merged` on all axes but the last `inner` ones, which may differ in extent and stay as they are."""
    ranks = [len(t.shape) for t in tensors]
    outer = merged([part_of(t, range(r - inner)) for t, r in zip(tensors, ranks, strict=True)])
    kept = [part_of(t, range(r - inner, r)) for t, r in zip(tensors, ranks, strict=True)]
    return [joined(o, k) for o, k in zip(outer, kept, strict=True)]
