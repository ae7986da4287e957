"""Rows of a table picked by indices: an embedding, or ONNX Gather along any axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from gacer_tune.kernels.blocks import RowsTile, few_and_many
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import Tensor, ceildiv
from gacer_tune.kernels.views import joined, merged, part_of


@dataclass(frozen=True, slots=True)
class Gather:
    """out.shape = table.shape[:axis] + indices.shape + table.shape[axis + 1:]; indices int32 or int64, axis >= 0.

    An index from -extent to -1 counts from the end; one out of range reads the nearest row there is.
    """

    table: Tensor
    indices: Tensor
    out: Tensor
    axis: int

    @property
    def flops(self) -> int:
        return self.out.size

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.table, self.indices, self.out


@dataclass(frozen=True, slots=True)
class Layout:
    """tensors: table (outer..., axis, block...), indices (picked...), out (outer..., picked..., block...), merged."""

    tensors: tuple[Tensor, Tensor, Tensor]
    outer: tuple[int, ...]
    picked: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def rows(self) -> int:
        return prod(self.outer) * prod(self.picked)


def layout(spec: Gather) -> Layout:
    table, indices, out = spec.table, spec.indices, spec.out
    if table.dtype == out.dtype:  # bytes are copied as they are
        copied = {"bool": "uint8", "bfloat16": "uint16"}.get(table.dtype, table.dtype)
        table, out = replace(table, dtype=copied), replace(out, dtype=copied)
    rank, picked = len(spec.table.shape), len(spec.indices.shape)
    before, behind = range(spec.axis), range(spec.axis + 1, rank)
    outer = merged([part_of(table, before), part_of(out, before)])
    middle = merged([indices, part_of(out, range(spec.axis, spec.axis + picked))])
    block = merged([part_of(table, behind), part_of(out, [axis - 1 + picked for axis in behind])])
    views = (
        joined(joined(outer[0], part_of(table, [spec.axis])), block[0]),
        middle[0],
        joined(joined(outer[1], middle[1]), block[1]),
    )
    return Layout(views, outer[0].shape, middle[0].shape, block[0].shape)


def items(spec: Gather, tile: RowsTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return ceildiv(layout(spec).rows, tile.rows)


def candidates(spec: Gather, machine: Machine) -> list[RowsTile]:  # noqa: ARG001
    """Variants worth measuring, most promising first."""
    return few_and_many(layout(spec).rows)
