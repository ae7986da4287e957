"""Variants of `Depthwise` on a GPU: a thread makes some neighbouring pixels of a few channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import THREADS
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.tensor import ceildiv


@dataclass(frozen=True, slots=True)
class DepthwiseTile:
    """A thread makes `columns` output columns of `width` channels; neighbouring threads have neighbouring channels."""

    threads: int
    columns: int
    width: int


def tiles_of(spec: Depthwise, tile: DepthwiseTile) -> tuple[int, ...]:
    """Threads wanted along (image, row, column, channel)."""
    images, rows, columns, channels = spec.out.shape
    return images, rows, ceildiv(columns, tile.columns), ceildiv(channels, tile.width)


def items(spec: Depthwise, tile: DepthwiseTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return ceildiv(prod(tiles_of(spec, tile)), tile.threads)


def candidates(spec: Depthwise, gpu: Gpu) -> list[DepthwiseTile]:
    """Variants worth measuring, most promising first: the largest pieces that still give work to the whole GPU."""
    columns, channels = spec.out.shape[2:]
    width = gpu.vector if channels >= gpu.vector else 1
    pairs = [(4, width), (2, width), (1, width), (4, 1), (1, 1)]
    tiles = list(dict.fromkeys(DepthwiseTile(THREADS, min(count, columns), wide) for count, wide in pairs))
    return sorted(tiles, key=lambda tile: items(spec, tile, gpu) < 2 * gpu.sms)
