"""Variants of `Lrn` on a GPU: each value by itself."""

from __future__ import annotations

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import THREADS, RunTile, run_blocks
from gacer_tune.kernels.lrn import Lrn


def items(spec: Lrn, tile: RunTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return run_blocks(spec.out.shape, tile)


def candidates(spec: Lrn, gpu: Gpu) -> list[RunTile]:  # noqa: ARG001 - the same for all
    """Variants worth measuring, most promising first; a thread with more channels reads fewer twice."""
    return [RunTile(THREADS, 1, width) for width in (4, 1, 8) if width <= spec.out.shape[-1]]
