"""Instance and group normalisation on channels-last data: statistics over all pixels of an image, for each group.

A work item is a block of channels (groups of one channel: vectors run along the channels) or of groups (vectors run
within the group). Either way sums have one order for all variants, so they give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv


@dataclass(frozen=True, slots=True)
class ChannelNorm:
    """source and out (n, ..., c), float32: (x - mean) / sqrt(variance + epsilon) * scale + bias.

    mean and variance over all axes but the first and over the channels of a group, of which there are `groups` equal
    ones: c for instance normalisation. scale and bias (c).
    """

    source: Tensor
    out: Tensor
    groups: int
    epsilon: float = 1e-5
    scale: Tensor | None = None
    bias: Tensor | None = None
    program: Program = NOTHING

    @property
    def channels(self) -> int:
        """Channels of a group."""
        return self.out.shape[-1] // self.groups

    @property
    def flops(self) -> int:
        return 8 * self.out.size

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        factors = [tensor for tensor in (self.scale, self.bias) if tensor is not None]
        return self.source, *factors, *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class ChannelNormTile:
    """An item has `units` groups, or where groups are single channels, tiles of `vectors` vectors of them."""

    vectors: int
    units: int


def units(spec: ChannelNorm, tile: ChannelNormTile, machine: Machine) -> int:
    """Units of one image."""
    return spec.groups if spec.channels > 1 else ceildiv(spec.groups, tile.vectors * machine.vector)


def items(spec: ChannelNorm, tile: ChannelNormTile, machine: Machine) -> int:
    return spec.out.shape[0] * ceildiv(units(spec, tile, machine), tile.units)


def candidates(spec: ChannelNorm, machine: Machine) -> list[ChannelNormTile]:
    """Variants worth measuring, most promising first."""
    single = spec.channels == 1
    found = []
    for vectors in [v for v in (4, 2, 1) if single and spec.groups >= v * machine.vector] or [1]:
        count = units(spec, ChannelNormTile(vectors, 1), machine)
        found += [ChannelNormTile(vectors, block_size(count, wanted, spec.out.shape[0])) for wanted in (FEW, MANY)]
    return list(dict.fromkeys(found))
