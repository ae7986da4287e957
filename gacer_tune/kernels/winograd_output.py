"""The last kernel of a Winograd convolution: products back to the image, finished by the program, and pooled."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.kernels.winograd import Filtering, TransformTile, item_count, tile_candidates


@dataclass(frozen=True, slots=True)
class WinogradOutput:
    """source (n, th, tw, points x o) dense, out (n, oh, ow, o) with whole vectors of channels next to each other.

    Of each pool x pool values the largest one is kept; pool divides the tile.
    """

    source: Tensor
    out: Tensor
    way: Filtering
    program: Program = NOTHING
    pool: int = 1

    @property
    def flops(self) -> int:
        return 8 * self.source.size

    @property
    def channels(self) -> int:
        return self.source.shape[3] // self.way.points

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return self.source.shape[0] * self.source.shape[1]

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, *self.program.operands, self.out


def items(spec: WinogradOutput, tile: TransformTile, machine: Machine) -> int:
    return item_count(spec.rows, spec.channels, tile, machine.vector)


def candidates(spec: WinogradOutput, machine: Machine) -> list[TransformTile]:
    return tile_candidates(spec.rows, spec.channels, machine.vector)
