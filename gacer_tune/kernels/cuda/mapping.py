"""Variants of `Map` on a GPU."""

from __future__ import annotations

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile, run_blocks, run_tiles, width_of
from gacer_tune.kernels.mapping import Map


def items(spec: Map, tile: RunTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return run_blocks(spec.out.shape, tile)


def candidates(spec: Map, gpu: Gpu) -> list[RunTile]:
    """Variants worth measuring, most promising first."""
    width = width_of(spec.out, spec.program.operands, gpu)
    return run_tiles(spec.out.shape, width, gpu, (1,))
