"""Variants of `Reduce` on a GPU: some threads share a result (or some neighbouring ones), a block has some of those."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import FLOATS
from gacer_tune.kernels.reduce import Layout, Reduce, layout
from gacer_tune.kernels.tensor import ceildiv


@dataclass(frozen=True, slots=True)
class ReduceTile:
    """`split` of a block's threads share results, `width` neighbouring ones of a kept axis (else one).

    Where results are of whole rows, width is how many elements of the row a thread takes at a time. The order of sums
    depends on split, and on width where results are of rows.
    """

    threads: int
    split: int
    width: int


def layout_of(spec: Reduce, processor: Any) -> Layout:
    """The layout of the CPU's rule, which asks nothing of the processor but what the operands depend on."""
    return layout(spec, processor)


def power(limit: int, wanted: int) -> int:
    """The smallest power of 2 that is at least wanted, at most limit."""
    return min(limit, 1 << max(wanted - 1, 0).bit_length())


def width_of(found: Layout, gpu: Gpu) -> int:
    """Neighbours of 16 bytes where they lie so."""
    source, extent = found.tensors[0], found.lanes or found.reduced[-1]
    whole = source.strides[-1] == 1 and source.dtype in FLOATS and extent % gpu.vector == 0
    return gpu.vector if whole else 1


def shares(found: Layout, tile: ReduceTile) -> int:
    """Results, or groups of neighbouring ones, that threads share."""
    return found.rows * ceildiv(found.lanes, tile.width) if found.lanes else found.rows


def items(spec: Reduce, tile: ReduceTile, gpu: Gpu) -> int:
    return ceildiv(shares(layout_of(spec, gpu), tile), tile.threads // tile.split)


def candidates(spec: Reduce, gpu: Gpu) -> list[ReduceTile]:
    """Variants worth measuring, most promising first."""
    found = layout_of(spec, gpu)
    width, count = width_of(found, gpu), prod(found.reduced)
    if found.lanes:
        split = power(16, ceildiv(count, 4))
        return [ReduceTile(32 * split, split, one) for one in dict.fromkeys((1, width))]
    split = power(256, ceildiv(count, 4 * width))
    return list(dict.fromkeys(ReduceTile(max(threads, split), split, width) for threads in (128, 32, 256)))
