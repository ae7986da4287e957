"""What CUDA kernels must know of the graphics processor; it stands where a `Machine` stands for CPU kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "fp16"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """arch: what nvcc calls it; sms: streaming multiprocessors.

    precision: fp32 multiplies in float32; tf32 rounds the operands of products to 10 bits of mantissa for tensor cores;
    fp16 also stores values as float16. Sums are float32 in all three.
    """

    arch: str = "sm_90"
    precision: Precision = "fp16"
    sms: int = 132

    @property
    def isa(self) -> str:
        return self.arch

    @property
    def dtype(self) -> str:
        """How weights are stored, and values."""
        return "float16" if self.precision == "fp16" else "float32"

    @property
    def values(self) -> str:
        return self.dtype

    @property
    def vector(self) -> int:
        """Elements of 16 bytes: the widest access of a thread."""
        return 8 if self.precision == "fp16" else 4

    @property
    def pack(self) -> int:
        """Output channels that packed weights keep together: the columns of a warp's tile."""
        return 32


GPUS = {"sm_80": Gpu("sm_80", sms=108), "sm_90": Gpu("sm_90")}
