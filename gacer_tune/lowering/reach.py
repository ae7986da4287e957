"""Which rows of its operands a kernel touches, and which of its variants are cut along these rows (see ir/rows.py).

Of products, attention, normalisations, look-ups and maps. Kernels on images say nothing: a window reads rows of its
neighbours, and between windows nothing was won (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gacer_tune.ir.rows import Cut
from gacer_tune.ir.workload import Operand
from gacer_tune.kernels import attention, bmm, gather, narrow
from gacer_tune.kernels.attention import Attention, AttentionTile
from gacer_tune.kernels.blocks import RowsTile
from gacer_tune.kernels.bmm import BatchMatmul, BmmTile
from gacer_tune.kernels.gather import Gather
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.mapping import Map, MapTile
from gacer_tune.kernels.narrow import NarrowConv, NarrowTile
from gacer_tune.kernels.narrow_attention import NarrowAttention, NarrowAttentionTile
from gacer_tune.kernels.normed import Normed, NormedTile
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.rules import Processor, Source, Spec
from gacer_tune.kernels.tensor import STORED, Tensor, ceildiv, dense
from gacer_tune.kernels.views import merged, part_of

ANYHOW = (0, 0)
WHOLE = dense(())  # in place of packed weights: every row needs all of them
Walk = tuple[Tensor, Sequence[int]]  # an operand and those of its axes that are rows; none: it is touched anyhow


@dataclass(frozen=True, slots=True)
class Reach:
    """rows of a kernel; steps: of each operand the bytes from row to row and those of a row."""

    rows: int
    steps: tuple[tuple[int, int], ...]

    def operands(self, given: Sequence[Operand]) -> tuple[Operand, ...]:
        """The operands with their pitches."""
        return tuple(_pitched(operand, *step) for operand, step in zip(given, self.steps, strict=True))


def reach(spec: Spec, machine: Processor) -> Reach | None:
    """None where the kernel has no rows, or only one. Nothing is known of kernels of a GPU."""
    walks = _WALKS.get(type(spec))
    if walks is None or not isinstance(machine, Machine):
        return None
    found = walks(spec)
    *_, (out, axes) = found
    rows = part_of(out, axes).size
    steps = tuple(_step(tensor, axes, rows) for tensor, axes in found)
    return Reach(rows, steps) if rows > 1 and axes and steps[-1][0] else None


def cut(source: Source) -> Cut | None:
    """How work items of a variant are blocks of the rows of `reach`; None where they are not."""
    spec, machine = source.spec, source.machine
    if not isinstance(machine, Machine) or reach(spec, machine) is None:
        return None
    return _CUTS[type(spec)](spec, source.tile, machine)


def _pitched(operand: Operand, pitch: int, width: int) -> Operand:
    inside = pitch > 0 and operand.offset % pitch + width <= pitch
    return replace(operand, pitch=pitch) if inside else operand


def _step(tensor: Tensor, axes: Sequence[int], rows: int) -> tuple[int, int]:
    walked = merged([part_of(tensor, axes)])[0]
    rest = part_of(tensor, [axis for axis in range(len(tensor.shape)) if axis not in axes])
    if walked.shape != (rows,) or min((*walked.strides, *rest.strides)) < 0:
        return ANYHOW
    return walked.strides[0] * STORED[tensor.dtype], rest.span * STORED[tensor.dtype]


def _walk_rows(spec: Rows) -> list[Walk]:
    lead = range(len(spec.out.shape) - 1)
    factors = [tensor for tensor in (spec.scale, spec.bias) if tensor is not None]
    behind = (*spec.program.operands, spec.out)
    return [(spec.source, lead), *((tensor, ()) for tensor in factors), *((tensor, lead) for tensor in behind)]


def _walk_product(spec: BatchMatmul) -> list[Walk]:
    lead = range(len(spec.out.shape) - 1)
    behind = (*spec.program.operands, spec.out)
    return [(spec.left, lead), (spec.right, ()), *((tensor, lead) for tensor in behind)]


def _walk_narrow(spec: NarrowConv) -> list[Walk]:
    rows = (2,) if spec.plain and spec.out.shape[0] == 1 else ()
    behind = (*spec.program.operands, spec.out)
    return [(spec.source, rows), (WHOLE, ()), *((tensor, rows) for tensor in behind)]


def _walk_normed(spec: Normed) -> list[Walk]:
    return [*_walk_product(spec.product)[:-1], *_walk_rows(spec.norm)[1:]]


def _walk_attention(spec: Attention) -> list[Walk]:
    rows = (len(spec.out.shape) - 2,)
    behind = (*spec.scores.operands, spec.out)
    return [(spec.query, rows), (spec.keys, ()), (spec.values, ()), *((tensor, rows) for tensor in behind)]


def _walk_gather(spec: Gather) -> list[Walk]:
    found = gather.layout(spec)
    rows = () if found.outer else range(len(found.picked))
    table, indices, out = found.tensors
    return [(table, ()), (indices, rows), (out, rows)]


def _walk_map(spec: Map) -> list[Walk]:
    lead = range(max(1, len(spec.out.shape) - 1))
    return [(tensor, lead) for tensor in (*spec.program.operands, spec.out)]


def _cut_product(spec: BatchMatmul, tile: BmmTile, machine: Machine) -> Cut:
    batch, m, _, _ = spec.extents
    found = bmm.grid(spec, tile, machine)
    if batch > 1:
        return Cut(found.row_blocks * found.column_blocks, m)
    return Cut(found.column_blocks, tile.high * m, found.high)


def _cut_narrow(spec: NarrowConv, tile: NarrowTile, machine: Machine) -> Cut | None:  # noqa: ARG001
    """Blocks of channels are the outermost of its loops."""
    *_, blocks = narrow.cuts(spec, tile)
    return Cut(1, tile.columns) if blocks == 1 else None


def _cut_narrow_attention(spec: NarrowAttention, tile: NarrowAttentionTile, machine: Machine) -> Cut:  # noqa: ARG001
    return Cut(spec.extents[0], tile.high * spec.rows)


def _cut_normed(spec: Normed, tile: NormedTile, machine: Machine) -> Cut:  # noqa: ARG001
    return Cut(1, spec.product.extents[1], tile.blocks)


def _cut_attention(spec: Attention, tile: AttentionTile, machine: Machine) -> Cut:  # noqa: ARG001 - as all of them
    heads, m, *_ = spec.extents
    return Cut(heads, tile.high * m, attention.tiles(spec, tile))


def _cut_rows(spec: Rows | Gather, tile: RowsTile, machine: Machine) -> Cut:  # noqa: ARG001
    return Cut(1, tile.rows)


def _cut_map(spec: Map, tile: MapTile, machine: Machine) -> Cut:  # noqa: ARG001
    """Of a kernel with one axis every element is a row."""
    *lead, last = spec.out.shape
    return Cut(ceildiv(last, tile.block), tile.rows) if lead else Cut(1, tile.block)


_WALKS: dict[type, Callable[[Any], list[Walk]]] = {
    Rows: _walk_rows,
    BatchMatmul: _walk_product,
    NarrowConv: _walk_narrow,
    Normed: _walk_normed,
    Attention: _walk_attention,
    NarrowAttention: _walk_attention,
    Gather: _walk_gather,
    Map: _walk_map,
}
_CUTS: dict[type, Callable[[Any, Any, Machine], Cut | None]] = {
    Rows: _cut_rows,
    BatchMatmul: _cut_product,
    NarrowConv: _cut_narrow,
    Normed: _cut_normed,
    Attention: _cut_attention,
    NarrowAttention: _cut_narrow_attention,
    Gather: _cut_rows,
    Map: _cut_map,
}
