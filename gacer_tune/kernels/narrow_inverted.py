"""Inverted residuals whose products are made by tiles of bfloat16; one end may lack.

A work item is a block of output rows. It rounds the pixels that its window reaches to a panel; then for 32 widened
channels at a time it multiplies, lets the window slide over the float32 results, and rounds what comes out to the panel
of the last product. A block of widened rows is as small as the second cache wants it, since it has few channels; rows
that two items reach are computed by both, so an item needs none of another.

The products see their pixels as one row: all rows of a block lie next to one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from gacer_tune.kernels.blocks import block_size
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.inverted import Residual
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import BLOCK, PANEL, NarrowConv, NarrowTile, panel
from gacer_tune.kernels.tensor import ceildiv

ITEMS = (4, 8, 2, 16, 32, 64)  # of an image, wanted: few compute less twice, many have their rows in a nearer cache
COLUMNS = (8, 4)  # of a register tile of the window
MOST_SIZES = 4  # that are worth compiling and timing


@dataclass(frozen=True, slots=True)
class NarrowInverted(Residual[NarrowConv]):
    """expand's and project's tensors are (1, 1, pixels, channels), those of the depthwise convolution (n, h, w, c)."""

    expand: NarrowConv | None
    depthwise: Depthwise
    project: NarrowConv | None


@dataclass(frozen=True, slots=True)
class NarrowInvertedTile:
    """rows of an item; columns of the window's register tile."""

    rows: int
    columns: int


THINNEST = NarrowInvertedTile(1, 1)


def widened(spec: NarrowInverted, tile: NarrowInvertedTile) -> NarrowTile:
    """What an item computes of the first product."""
    return NarrowTile(1, spec.reach(tile.rows) * spec.depthwise.source.shape[2], 1, "ohw")


def projected(spec: NarrowInverted, tile: NarrowInvertedTile) -> NarrowTile:
    """What an item computes of the last product."""
    assert spec.project is not None
    return NarrowTile(1, tile.rows * spec.depthwise.out.shape[2], spec.project.blocks, "hwo")


def scratch(spec: NarrowInverted, tile: NarrowInvertedTile) -> int:
    """Bytes: panels, and the float32 that the window slides over."""
    size = 0
    if spec.expand is not None:
        wide = widened(spec, tile)
        size += 4 * wide.columns * BLOCK + 2 * panel(spec.expand, wide).size
    if spec.project is not None:
        size += 2 * panel(spec.project, projected(spec, tile)).size
    return size


def footprint(spec: NarrowInverted, tile: NarrowInvertedTile, machine: Machine) -> int:
    """Bytes of scratch and of all weights."""
    return scratch(spec, tile) + sum(part.weight(machine).nbytes for part in spec.parts)


def blocks(spec: NarrowInverted, tile: NarrowInvertedTile) -> int:
    """Items of one image."""
    return ceildiv(spec.depthwise.out.shape[1], tile.rows)


def items(spec: NarrowInverted, tile: NarrowInvertedTile, machine: Machine) -> int:  # noqa: ARG001 - all machines
    return spec.depthwise.out.shape[0] * blocks(spec, tile)


def candidates(spec: NarrowInverted, machine: Machine) -> list[NarrowInvertedTile]:  # noqa: ARG001 - all machines
    """Variants worth measuring, most promising first."""
    _, height, width, _ = spec.depthwise.out.shape
    sizes = dict.fromkeys(block_size(height, wanted) for wanted in ITEMS)
    fitting = [rows for rows in sizes if scratch(spec, NarrowInvertedTile(rows, 1)) <= PANEL]
    pairs = product(fitting[:MOST_SIZES] or [1], COLUMNS)
    return list(dict.fromkeys(NarrowInvertedTile(rows, min(columns, width)) for rows, columns in pairs))


def fits(spec: NarrowInverted) -> bool:
    """Whether there is a variant: the thinnest items' scratch fits the stack."""
    return scratch(spec, THINNEST) <= PANEL
