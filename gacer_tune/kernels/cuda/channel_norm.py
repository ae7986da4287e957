"""Variants of `ChannelNorm` on a GPU: a block has a group, or some neighbouring channels that are groups."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.reduce import power
from gacer_tune.kernels.tensor import ceildiv


@dataclass(frozen=True, slots=True)
class ChannelNormTile:
    """A block has `lanes` neighbouring channels that are groups (or one group of several); `split` threads share each.

    The order of sums depends on split.
    """

    lanes: int
    split: int

    @property
    def threads(self) -> int:
        return self.lanes * self.split


def items(spec: ChannelNorm, tile: ChannelNormTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return spec.out.shape[0] * ceildiv(spec.groups, tile.lanes)


def candidates(spec: ChannelNorm, gpu: Gpu) -> list[ChannelNormTile]:  # noqa: ARG001 - the same for all
    """Variants worth measuring, most promising first."""
    count = spec.out.size // spec.out.shape[0] // spec.groups
    if spec.channels > 1:
        return [ChannelNormTile(1, max(32, power(256, ceildiv(count, 8))))]
    split = power(16, ceildiv(count, 4))
    return [ChannelNormTile(lanes, split) for lanes in dict.fromkeys((32, max(8, 32 // split)))]
