"""Variants of `Gather` on a GPU: each value by itself."""

from __future__ import annotations

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import RunTile, run_blocks, run_tiles, width_of
from gacer_tune.kernels.gather import Gather, layout
from gacer_tune.kernels.tensor import Tensor


def shape(spec: Gather) -> tuple[int, ...]:
    """The output's, its axes merged; the last one runs within a row of the table."""
    found = layout(spec)
    return (*found.outer, *found.picked, *(found.block or (1,)))


def items(spec: Gather, tile: RunTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return run_blocks(shape(spec), tile)


def candidates(spec: Gather, gpu: Gpu) -> list[RunTile]:
    """Variants worth measuring, most promising first."""
    table, _, out = layout(spec).tensors
    one = Tensor((1,), (1,), out.dtype)
    width = width_of(out, [table], gpu) if layout(spec).block else width_of(one, [one], gpu)
    return run_tiles(shape(spec), width, gpu, (1,))
