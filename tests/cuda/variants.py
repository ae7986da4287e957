"""Runs CUDA variants of a kernel in the emulator, on operands whose surroundings are watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from gacer_tune.kernels.cuda.product import TILES
from gacer_tune.kernels.rules import Source, candidates, items
from gacer_tune.kernels.tensor import Tensor
from tests.cuda.emulator import emulate
from tests.support.kernels import GUARD, Array, Operand, bits, epilogue, error, evaluated

Value = TypeVar("Value")
PRECISIONS: tuple[Precision, ...] = ("fp16", "tf32", "fp32")
SMALL = tuple(tile for tile in TILES if tile.rows * tile.columns <= 64 * 64)
STORING = [Gpu(precision="fp16"), Gpu(precision="fp32")]  # one for each type that values are stored as

# Largest errors relative to the largest value: of products, and of what is computed from stored values.
EXACT = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3}
ROUNDED = {"fp16": 2e-3, "fp32": 2e-5}


def stored(value: Value, gpu: Gpu) -> Value:
    """A spec with all its float32 tensors in the type that the GPU stores."""
    found: Any = value
    if isinstance(value, Tensor):
        found = replace(value, dtype=gpu.dtype) if value.dtype == "float32" else value
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{f.name: stored(getattr(value, f.name), gpu) for f in fields(value)})
    elif isinstance(value, tuple):
        found = tuple(stored(one, gpu) for one in value)
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A kernel, its operands, and what it should make of them."""

    spec: Any
    gpu: Gpu
    inputs: list[Operand]
    expected: Array

    def error(self, tiles: Sequence[Any] = (), cut: float = 0.5) -> float:
        """The largest one of these variants (of all unless given), which have the same bits however they are cut."""
        return error(
            outputs(self.spec, tiles or distinct(self.spec, self.gpu), self.gpu, self.inputs, cut), self.expected
        )


def case(spec: Any, gpu: Gpu, inputs: Sequence[Operand], value: Array, seed: int = 0) -> Case:
    """A kernel whose program has random operands and finishes `value`, which it makes of the other ones."""
    rest = epilogue(spec.program, seed)
    return Case(spec, gpu, [*inputs, *rest], evaluated(spec.program, value, [one.array for one in rest]))


def distinct(spec: Any, gpu: Gpu) -> list[Any]:
    tiles = candidates(spec, gpu)
    assert 1 <= len(set(tiles)) == len(tiles) <= 8
    return tiles


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
