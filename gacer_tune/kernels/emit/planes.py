"""The rows and channel tiles of one work item of a rule on channels-last images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gacer_tune.kernels.emit.blocks import Parts, part, tiles
from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.planes import PlaneTile, blocks
from gacer_tune.kernels.tensor import Tensor

Expr = Any


@dataclass(frozen=True, slots=True)
class Strip:
    """One output row of a channel tile: image, row, first channel, and the vectors of its channels."""

    image: Expr
    row: Expr
    channel: Expr
    parts: Parts

    @property
    def size(self) -> int:
        """Channels of the tile."""
        return sum(width for _, width in self.parts)


def each_strip(out: Tensor, tile: PlaneTile, width: int, item: Expr, body: Callable[[Strip], None]) -> None:
    """Run body for each row of each channel tile of an item; width: channels of a vector."""
    row_blocks, channel_blocks = blocks(out, tile, width)
    block, rest = item % row_blocks, item // row_blocks
    channels, image = (rest % channel_blocks, tile.channels), rest // channel_blocks
    extent, size, count = out.shape[3], tile.vectors * width, part(out.shape[1], tile.rows, block, row_blocks)

    def sweep(channel: Expr, parts: Parts) -> None:
        with loop(count) as h:
            body(Strip(image, block * tile.rows + h, channel, parts))

    if tile.order == "ohw":
        tiles(extent, size, width, channels, sweep)
        return
    with loop(count) as h:
        row = block * tile.rows + h
        tiles(extent, size, width, channels, lambda channel, parts: body(Strip(image, row, channel, parts)))
