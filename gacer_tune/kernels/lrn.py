"""Local response normalisation across neighbouring channels (ONNX LRN)."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import RowsTile, few_and_many
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv


@dataclass(frozen=True, slots=True)
class Lrn:
    """source and out (n, h, w, c), float32: x / (bias + alpha / size * sum of squares of `size` channels) ** beta.

    The window has (size - 1) // 2 channels before its own and the rest behind it; channels that are not there count 0.
    """

    source: Tensor
    out: Tensor
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    program: Program = NOTHING

    @property
    def pixels(self) -> int:
        return self.out.size // self.out.shape[-1]

    @property
    def flops(self) -> int:
        return self.out.size * (2 * self.size + 8)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, *self.program.operands, self.out


def items(spec: Lrn, tile: RowsTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return ceildiv(spec.pixels, tile.rows)


def candidates(spec: Lrn, machine: Machine) -> list[RowsTile]:  # noqa: ARG001
    """Variants worth measuring, most promising first."""
    return few_and_many(spec.pixels)
