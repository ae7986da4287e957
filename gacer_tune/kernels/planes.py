"""How rules on channels-last images cut their output: into blocks of rows and of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gacer_tune.kernels.blocks import block_size
from gacer_tune.kernels.tensor import Tensor, ceildiv

Order = Literal["ohw", "hwo"]


@dataclass(frozen=True, slots=True)
class PlaneTile:
    """vectors (of channels) x columns values at a time; an item has `rows` rows of `channels` channel tiles.

    order "ohw": a channel tile sweeps over the rows; "hwo": rows are finished one by one.
    """

    vectors: int
    columns: int
    rows: int
    channels: int
    order: Order


def blocks(out: Tensor, tile: PlaneTile, width: int) -> tuple[int, int]:
    """Numbers of row blocks and of channel blocks of one image of out (n, h, w, c); width: channels of a vector."""
    tiles = ceildiv(out.shape[3], tile.vectors * width)
    return ceildiv(out.shape[1], tile.rows), ceildiv(tiles, tile.channels)


def plane_items(out: Tensor, tile: PlaneTile, width: int) -> int:
    rows, channels = blocks(out, tile, width)
    return out.shape[0] * rows * channels


def blocked(out: Tensor, pair: tuple[int, int], width: int, wanted: int, order: Order) -> PlaneTile:
    """A tile of (vectors, columns) and about `wanted` items: "ohw" cuts along channels first, "hwo" along rows."""
    images, height, _, extent = out.shape
    tiles = ceildiv(extent, pair[0] * width)
    if order == "ohw":
        channels = block_size(tiles, wanted, images)
        rows = block_size(height, wanted, images * ceildiv(tiles, channels))
    else:
        rows = block_size(height, wanted, images)
        channels = block_size(tiles, wanted, images * ceildiv(height, rows))
    return PlaneTile(*pair, rows, channels, order)
