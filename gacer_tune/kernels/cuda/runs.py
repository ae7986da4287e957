"""How kernels that make each value by itself cut their output: into runs of neighbours along the last axis.

A thread makes one run at a time, neighbouring threads make neighbouring runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.tensor import Tensor, ceildiv

THREADS = 128
FLOATS = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class RunTile:
    """A block has `threads` threads, each of which makes `runs` runs of `width` values (fewer at an axis' end)."""

    threads: int
    runs: int
    width: int


def run_count(shape: Sequence[int], width: int) -> int:
    return prod(shape[:-1]) * ceildiv(shape[-1], width)


def run_blocks(shape: Sequence[int], tile: RunTile) -> int:
    return ceildiv(run_count(shape, tile.width), tile.threads * tile.runs)


def width_of(out: Tensor, reads: Sequence[Tensor], gpu: Gpu) -> int:
    """16 bytes where all lie so that a thread gains by it, else single values: then neighbours read neighbours."""
    together = all(t.strides[-1] in (0, 1) and t.dtype in FLOATS for t in (*reads, out)) and out.strides[-1] == 1
    return gpu.vector if together and out.shape[-1] >= gpu.vector else 1


def run_tiles(shape: Sequence[int], width: int, gpu: Gpu, widths: Sequence[int] = ()) -> list[RunTile]:
    """One run a thread, and several where that still leaves two blocks for each multiprocessor; other widths last."""
    tiles = [RunTile(THREADS, 1, width)]
    tiles += [t for t in (RunTile(THREADS, 4, width),) if run_blocks(shape, t) >= 2 * gpu.sms]
    tiles += [RunTile(THREADS, 1, other) for other in widths if other < width]
    return list(dict.fromkeys(tiles))
