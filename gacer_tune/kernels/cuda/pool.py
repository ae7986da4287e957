"""Variants of `Pool` on a GPU: each value by itself."""

from __future__ import annotations

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile, run_blocks, run_tiles, width_of
from gacer_tune.kernels.pool import Pool


def items(spec: Pool, tile: RunTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return run_blocks(spec.out.shape, tile)


def candidates(spec: Pool, gpu: Gpu) -> list[RunTile]:
    """Variants worth measuring, most promising first: those that give work to the whole GPU."""
    tiles = run_tiles(spec.out.shape, width_of(spec.out, [spec.source], gpu), gpu, (1,))
    return sorted(tiles, key=lambda tile: items(spec, tile, gpu) < gpu.sms)
