"""Reductions over any axes of a strided view.

Vectors run along the axis that is contiguous in the source. If that axis is kept, each lane reduces on its own; if it
is reduced, whole rows are folded (emit.fold). Either order is the same for all variants, so they give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv
from gacer_tune.kernels.views import joined, merged, part_of

Kind = Literal["sum", "mean", "max", "min", "prod", "sumsq", "l1", "l2"]


@dataclass(frozen=True, slots=True)
class Reduce:
    """out has the rank of source, extent 1 along `axes`, and the dtype of source (the program may change it).

    sumsq: sum of squares; l1: sum of absolute values; l2: square root of sumsq. Float32, int32 or int64 (not l2).
    """

    source: Tensor
    out: Tensor
    axes: tuple[int, ...]
    kind: Kind
    program: Program = NOTHING

    @property
    def count(self) -> int:
        """Elements that make one."""
        return prod(self.source.shape[axis] for axis in self.axes)

    @property
    def flops(self) -> int:
        return self.source.size * (2 if self.kind in ("sumsq", "l2") else 1)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors with as few axes as possible.

    lanes: extent of the last kept axis if vectors run along it: then the source's reduced axes come before its kept
    ones; 0 if vectors run along the last reduced axis: then they come behind.
    """

    tensors: tuple[Tensor, ...]
    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    lanes: int

    @property
    def rows(self) -> int:
        """Results, or if vectors run along a kept axis, rows of them."""
        return prod(self.kept) // max(self.lanes, 1)


def layout(spec: Reduce, machine: Machine) -> Layout:
    tensors = spec.tensors(machine)
    rest = [axis for axis in range(len(spec.out.shape)) if axis not in spec.axes]
    kept = merged([part_of(tensor, rest) for tensor in tensors])
    reduced = merged([part_of(spec.source, spec.axes)])[0]
    if not reduced.shape:
        reduced = Tensor((1,), (0,), spec.source.dtype)
    near, far = (tensor.strides.index(1) if 1 in tensor.strides else -1 for tensor in (kept[0], reduced))
    if kept[0].shape and (near >= 0 or reduced.size == 1):
        kept = [_moved_last(tensor, near) for tensor in kept]
        return Layout((joined(reduced, kept[0]), *kept[1:]), kept[0].shape, reduced.shape, kept[0].shape[-1])
    reduced = _moved_last(reduced, far)
    return Layout((joined(kept[0], reduced), *kept[1:]), kept[0].shape, reduced.shape, 0)


def _moved_last(tensor: Tensor, axis: int) -> Tensor:
    """-1: the last one stays."""
    rank = len(tensor.shape)
    return part_of(tensor, [*(a for a in range(rank) if a != axis % rank), axis])


@dataclass(frozen=True, slots=True)
class ReduceTile:
    """An item has `rows` rows; of `lanes` tiles of `vectors` vectors each, if vectors run along a kept axis."""

    vectors: int
    rows: int
    lanes: int


def blocks(spec: Reduce, tile: ReduceTile, machine: Machine) -> tuple[int, int]:
    """Numbers of row blocks and of lane blocks."""
    found = layout(spec, machine)
    tiles = ceildiv(max(found.lanes, 1), tile.vectors * machine.vector)
    return ceildiv(found.rows, tile.rows), ceildiv(tiles, tile.lanes)


def items(spec: Reduce, tile: ReduceTile, machine: Machine) -> int:
    rows, lanes = blocks(spec, tile, machine)
    return rows * lanes


def candidates(spec: Reduce, machine: Machine) -> list[ReduceTile]:
    """Variants worth measuring, most promising first."""
    found = layout(spec, machine)
    vectors = [v for v in (4, 2, 1) if found.lanes >= v * machine.vector] or [1]
    return list(dict.fromkeys(_blocked(found, machine, v, wanted) for v in vectors for wanted in (FEW, MANY)))


def _blocked(found: Layout, machine: Machine, vectors: int, wanted: int) -> ReduceTile:
    tiles = ceildiv(max(found.lanes, 1), vectors * machine.vector)
    rows = block_size(found.rows, wanted)
    return ReduceTile(vectors, rows, block_size(tiles, wanted, ceildiv(found.rows, rows)))
