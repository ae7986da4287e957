"""Runs CUDA variants of a kernel in the emulator, on operands whose surroundings are watched."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Source, items
from tests.cuda.emulator import emulate
from tests.support.kernels import GUARD, Array, Operand, bits

EXACT = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3}  # largest error relative to the largest value


def launch(source: str, gpu: Gpu, operands: Sequence[Operand], lo: int, hi: int) -> None:
    emulate(source, gpu, [one.memory[GUARD : GUARD + one.tensor.span] for one in operands], lo, hi)


def outputs(spec: Any, tiles: Sequence[Any], gpu: Gpu, inputs: Sequence[Operand], cut: float = 0.5) -> Array:
    """What the kernel computes, the same bits for all tiles, in one launch or cut in two; nothing else is written."""
    before = [one.memory.copy() for one in inputs]
    first: Array | None = None
    for tile in tiles:
        source, blocks = source_of(Source(spec, tile, gpu).emit("kernel"), gpu), items(spec, tile, gpu)
        for parts in {(0, blocks), tuple(sorted({0, round(cut * blocks), blocks}))}:
            out = Operand(spec.out, np.nan)
            for lo, hi in pairwise(parts):
                launch(source, gpu, [*inputs, out], lo, hi)
            first = out.array.copy() if first is None else first
            assert bits(out.array) == bits(first), f"{tile} in {parts}: other bits"
            assert out.untouched(), f"{tile}: writes outside of its output"
    for one, memory in zip(inputs, before, strict=True):
        assert bits(one.memory) == bits(memory), "an input was written"
    assert first is not None
    return first


def rounded(values: Array, gpu: Gpu) -> Array:
    """Values as they are stored, and as they are multiplied where that is less exact."""
    if gpu.precision == "tf32":
        found: Array = ((values.astype(np.float32).view(np.uint32) + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)
        return found
    return values.astype(gpu.dtype)
