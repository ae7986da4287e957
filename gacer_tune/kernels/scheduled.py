"""Kernels whose loops TVM's MetaSchedule has arranged: one more variant of a product beside those of its own rule.

MetaSchedule sees a plain product: of a virtual image that is already padded, each of whose output elements stands for
a vector of neighbouring channels, and nothing behind it. Vectors, packed weights, borders, strides of the operands and
the program are put in when the function is emitted. A variant is what MetaSchedule has decided, numbers only, so a
record of it holds no code and no instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import SCHEDULED, Spec
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.window import Pair

SPACE = 1  # another number when decisions come to mean something else
UNROLL = (0, 16, 64, 512)  # steps of the innermost loops that may be written out
TAPS, CHANNELS = 5, 6  # positions of the reduction axes among the decisions, behind five axes of the output


@dataclass(frozen=True, slots=True)
class Scheduled:
    """space: which of MetaSchedule's sketches; decisions: sizes of tiles, axis by axis, then (unrolling,).

    count: the turns of the parallel loop that this makes, which are the work items.
    """

    space: int
    decisions: tuple[tuple[int, ...], ...]
    count: int


@dataclass(frozen=True, slots=True)
class Product:
    """Output axes (images, height, width, groups, vectors), summed over taps (rows, columns) and channels."""

    output: tuple[int, int, int, int, int]
    taps: Pair
    channels: int
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)


def product_of(spec: Spec, machine: Machine) -> Product | None:
    """The product at the heart of a kernel; None where MetaSchedule is not asked."""
    if type(spec) is Conv2d:
        inputs, outputs = spec.group_channels
        images, height, width, _ = spec.out.shape
        vectors = ceildiv(outputs, machine.vector)
        return Product((images, height, width, spec.groups, vectors), spec.window, inputs, spec.stride, spec.dilation)
    if isinstance(spec, BatchMatmul) and spec.constant:
        batch, m, n, k = spec.extents
        return Product((batch, 1, m, 1, ceildiv(n, machine.vector)), (1, 1), k)
    return None


def ordered(tile: Scheduled) -> bool:
    """Whether every sum is taken in the order of our own kernels, (tap, channel), so that it has their bits.

    Both axes are cut in two, and the outer halves run outside of the inner ones: either the taps are not cut into
    blocks, or the channels are not.
    """
    return tile.decisions[TAPS][1] == 1 or tile.decisions[CHANNELS][0] == 1


def fault(product: Product, tile: Scheduled) -> str:
    """Why these decisions make no kernel of this product; empty where they do, as far as numbers tell.

    TVM believes them: a tile that is too small would leave a part out, one of size 0 ends the process.
    """
    sizes = (*product.output, product.taps[0] * product.taps[1], product.channels)
    if len(tile.decisions) != len(sizes) + 1:
        return f"{len(tile.decisions)} decisions, {len(sizes) + 1} are needed"
    for axis, (size, parts) in enumerate(zip(sizes, tile.decisions, strict=False)):
        if len(parts) != (4 if axis < TAPS else 2) or min(parts) < 1 or prod(parts) != size:
            return f"axis {axis} of {size} in tiles of {parts}"
    unrolling = tile.decisions[-1]
    if len(unrolling) != 1 or not 0 <= unrolling[0] < len(UNROLL):
        return f"unrolling {unrolling}, one of {len(UNROLL)} is allowed"
    return "" if ordered(tile) else "its sums would be taken in another order"


def is_scheduled(function: str) -> bool:
    """Whether a function of this name is one of these variants."""
    return function.startswith(f"gt_{SCHEDULED}_")
