"""Operands of kernels are strided views, so a transpose, a slice or a broadcast costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

# The types of models' values.
NBYTES = {"float32": 4, "float64": 8, "int64": 8, "int32": 4, "int8": 1, "uint8": 1, "bool": 1}
# And of values in memory: a GPU may store float32 as float16, a CPU as bfloat16; all are computed in float32.
# Weights in bfloat16 are uint16: numpy knows no other name. A byte is a float32 that is a whole number of 0 to 255.
STORED = {**NBYTES, "float16": 2, "bfloat16": 2, "uint16": 2, "byte": 1}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Element i of axis a lies strides[a] * i elements further; stride 0 broadcasts."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def span(self) -> int:
        """Elements from the first to the last one that are addressed."""
        return 1 + sum((extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes that are really there: broadcast axes count once."""
        kept = prod(extent for extent, stride in zip(self.shape, self.strides, strict=True) if stride)
        return kept * STORED[self.dtype]

    @property
    def dense(self) -> bool:
        return self.strides == contiguous(self.shape)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements: (2, 3, 4) -> (12, 4, 1)."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def computed(dtype: str) -> str:
    """The type that values stored as `dtype` are computed in."""
    return "float32" if dtype in ("float16", "bfloat16", "byte") else dtype


def ceildiv(a: int, b: int) -> int:
    return -(-a // b)


def dense(shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    return Tensor(shape, contiguous(shape), dtype)
