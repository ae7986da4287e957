"""What kernels must know of the processor: vector width, registers, cache sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


class Target(Protocol):
    """What specs and packed weights depend on: a `Machine` or a `Gpu`. dtype: how weights are stored,
    values: how values are."""

    @property
    def vector(self) -> int: ...

    @property
    def pack(self) -> int: ...

    @property
    def dtype(self) -> str: ...

    @property
    def values(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """vector: float32 lanes of a vector; registers: how many vectors there are; l2: bytes of a core's own cache.

    tiles: what multiplies matrices of bfloat16 where a model may be rounded to it: AMX, or plain loops that do the same
    on any processor, for tests; empty where all is float32.
    dots: what multiplies bytes where a model is quantized to them: VNNI, or plain arithmetic that does the same; empty
    where these are computed in float32, too.
    """

    isa: str
    mcpu: str
    vector: int
    registers: int
    l2: int = 1 << 20
    tiles: Literal["", "amx", "emulated"] = ""
    dots: Literal["", "vnni", "emulated"] = ""

    @property
    def pack(self) -> int:
        """Output channels that packed weights keep together: two vectors."""
        return 2 * self.vector

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def values(self) -> str:
        return "bfloat16" if self.tiles else "float32"

    @property
    def precision(self) -> str:
        """What products are made in."""
        return "bf16" if self.tiles else "fp32"


MACHINES = {
    "avx512": Machine("avx512", "skylake-avx512", 16, 32),
    "avx2": Machine("avx2", "haswell", 8, 16),
    "x86-64": Machine("x86-64", "x86-64", 4, 16),
}
AMX = Machine("amx", "sapphirerapids", 16, 32, 2 << 20, "amx")
