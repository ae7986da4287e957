"""Normalisations over the last axis: each row is read whole, folded, and written scaled.

A work item is a block of rows. Folding has one order for all variants (see emit.fold), so they give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gacer_tune.kernels.blocks import RowsTile, few_and_many
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv

Kind = Literal["softmax", "log_softmax", "layer_norm", "rms_norm", "l2_norm"]
FLOPS = {"softmax": 16, "log_softmax": 16, "layer_norm": 8, "rms_norm": 5, "l2_norm": 3}  # an element; exp counts 12


@dataclass(frozen=True, slots=True)
class Rows:
    """source and out (..., k), float32; scale and bias (k), used where the kind has them.

    softmax, log_softmax; layer_norm: (x - mean) / sqrt(variance + epsilon) * scale + bias;
    rms_norm: x / sqrt(mean of squares + epsilon) * scale; l2_norm: x / sqrt(sum of squares), 0 for a row of zeros.
    """

    source: Tensor
    out: Tensor
    kind: Kind
    epsilon: float = 1e-5
    scale: Tensor | None = None
    bias: Tensor | None = None
    program: Program = NOTHING

    @property
    def rows(self) -> int:
        return self.out.size // self.out.shape[-1]

    @property
    def flops(self) -> int:
        return FLOPS[self.kind] * self.out.size

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        factors = [tensor for tensor in (self.scale, self.bias) if tensor is not None]
        return self.source, *factors, *self.program.operands, self.out


def items(spec: Rows, tile: RowsTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return ceildiv(spec.rows, tile.rows)


def candidates(spec: Rows, machine: Machine) -> list[RowsTile]:  # noqa: ARG001
    """Variants worth measuring, most promising first."""
    return few_and_many(spec.rows)
