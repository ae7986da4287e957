"""What kernels must know of the processor: vector width, registers, cache sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Target(Protocol):
    """What specs and packed weights depend on: a `Machine` or a `Gpu`. dtype: how values and weights are stored."""

    @property
    def vector(self) -> int: ...

    @property
    def pack(self) -> int: ...

    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """vector: float32 lanes of a vector; registers: how many vectors there are; l2: bytes of a core's own cache."""

    isa: str
    mcpu: str
    vector: int
    registers: int
    l2: int = 1 << 20

    @property
    def pack(self) -> int:
        """Output channels that packed weights keep together: two vectors."""
        return 2 * self.vector

    @property
    def dtype(self) -> str:
        return "float32"


MACHINES = {
    "avx512": Machine("avx512", "skylake-avx512", 16, 32),
    "avx2": Machine("avx2", "haswell", 8, 16),
    "x86-64": Machine("x86-64", "x86-64", 4, 16),
}
