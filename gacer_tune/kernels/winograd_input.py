"""The first kernel of a Winograd convolution: tiles of the image into the transformed domain."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.kernels.winograd import Filtering, TransformTile, item_count, tile_candidates


@dataclass(frozen=True, slots=True)
class WinogradInput:
    """source (n, h, w, c), channels next to each other and whole vectors of them; out (n, th, tw, points x c) dense."""

    source: Tensor
    out: Tensor
    way: Filtering
    pad: tuple[int, int]

    @property
    def flops(self) -> int:
        return 8 * self.out.size

    @property
    def channels(self) -> int:
        return self.out.shape[3] // self.way.points

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return self.out.shape[0] * self.out.shape[1]

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, self.out


def items(spec: WinogradInput, tile: TransformTile, machine: Machine) -> int:
    return item_count(spec.rows, spec.channels, tile, machine.vector)


def candidates(spec: WinogradInput, machine: Machine) -> list[TransformTile]:
    return tile_candidates(spec.rows, spec.channels, machine.vector)
