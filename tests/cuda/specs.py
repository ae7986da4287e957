"""Specs as a GPU has them: float32 values stored as float16 where its precision says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import candidates
from gacer_tune.kernels.tensor import Tensor
from tests.cuda.variants import outputs
from tests.support.kernels import Array, Operand, close

Value = TypeVar("Value")
PRECISIONS = [Gpu(precision="fp16"), Gpu(precision="fp32")]
ROUNDED = {"fp16": 2e-3, "fp32": 2e-5}  # largest error relative to the largest value


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


def check(spec: Any, gpu: Gpu, inputs: Sequence[Operand], expected: Array, cut: float = 0.5) -> None:
    """All variants give the same bits, close to what is expected, however they are cut."""
    tiles = candidates(spec, gpu)
    assert 1 <= len(set(tiles)) == len(tiles) <= 8
    close(outputs(spec, tiles, gpu, inputs, cut), expected, ROUNDED[gpu.precision])
