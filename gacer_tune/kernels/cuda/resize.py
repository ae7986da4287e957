"""Variants of `Resize` on a GPU: each value by itself."""

from __future__ import annotations

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile, run_blocks, run_tiles, width_of
from gacer_tune.kernels.resize import Resize


def items(spec: Resize, tile: RunTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return run_blocks(spec.out.shape, tile)


def candidates(spec: Resize, gpu: Gpu) -> list[RunTile]:
    """Variants worth measuring, most promising first."""
    return run_tiles(spec.out.shape, width_of(spec.out, [spec.source], gpu), gpu, (1,))
