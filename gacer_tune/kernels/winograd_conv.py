"""A whole Winograd convolution in one kernel, for images with more tiles than channels.

An item is a run of tiles: they are transformed into scratch that stays in a core's own cache, multiplied there by the
weights of each point, and transformed back, one tile of channels after the other. Nothing in the transformed domain,
which is 2.25 (F(4x4, 3x3)) to 9 times (F(2x2, 5x5)) as large as the image, goes through memory or to another core. Each
item reads all weights, which is why it does not pay for small images with many channels.

It adds and multiplies in the order of the three kernels `winograd_input`, `conv2d` and `winograd_output`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.winograd import Filtering, tiles

VECTORS = 2  # of a register tile: a pack of channels
SHORTEST, FEWEST = 8, 32  # tiles that scratch must have room for, and those that all runs have together
HEAVIEST = 12 << 20  # bytes of weights that every run may read


@dataclass(frozen=True, slots=True)
class WinogradConv:
    """source (n, h, w, c), out (n, oh, ow, o): whole vectors of channels next to each other, whole packs of o.

    Of each pool x pool values the largest one is kept; pool divides the tile.
    """

    source: Tensor
    out: Tensor
    way: Filtering
    pad: tuple[int, int]
    program: Program = NOTHING
    pool: int = 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """Images, rows of tiles, tiles in a row."""
        return self.out.shape[0], *tiles(self.out, self.way.m // self.pool)

    @property
    def count(self) -> int:
        """Tiles of all images."""
        images, rows, columns = self.grid
        return images * rows * columns

    @property
    def flops(self) -> int:
        inputs, outputs = self.source.shape[3], self.out.shape[3]
        return self.count * self.way.points * (2 * inputs * outputs + 8 * (inputs + outputs))

    def weight(self, machine: Target) -> Tensor:
        """Packed weights: (blocks of output channels, points, channels, pack), see pack.winograd_weight."""
        inputs, outputs = self.source.shape[3], self.out.shape[3]
        return dense((outputs // machine.pack, self.way.points, inputs, machine.pack), machine.dtype)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, self.weight(machine), *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class Run:
    """A register tile has up to `rows` Winograd tiles, an item `high` register tiles."""

    rows: int
    high: int


def register_tiles(spec: WinogradConv, tile: Run) -> int:
    return ceildiv(spec.count, tile.rows)


def items(spec: WinogradConv, tile: Run, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return ceildiv(register_tiles(spec, tile), tile.high)


def footprint(spec: WinogradConv, tile: Run, machine: Machine) -> int:
    """Bytes of scratch, and of the weights of one point for a pack of channels."""
    inputs, run = spec.source.shape[3], min(tile.rows * tile.high, spec.count)
    return 4 * (run * spec.way.points * (inputs + machine.pack) + inputs * machine.pack)


def room(channels: int, way: Filtering, machine: Machine) -> int:
    """Transformed tiles that half of a core's own cache holds."""
    return machine.l2 // 2 // (4 * way.points * channels)


def pays(spec: WinogradConv, machine: Machine) -> bool:
    """Whether it beats three kernels: a run is long enough for the weights that it reads, and there are runs to share.

    Measured on two cores: 4 to 15 % faster where it pays, 20 % slower with 512 channels and 16 tiles. With 18 MiB of
    weights, 256 to 512 channels and 49 tiles, it took 1.6 times as long.
    """
    return (
        spec.out.shape[3] % machine.pack == 0
        and spec.weight(machine).nbytes <= HEAVIEST
        and room(spec.source.shape[3], spec.way, machine) >= SHORTEST
        and spec.count >= FEWEST
    )


def candidates(spec: WinogradConv, machine: Machine) -> list[Run]:
    """Long runs read the weights less often, short ones share better among lanes and leave more of a core's cache."""
    most = (machine.registers - VECTORS - 1) // VECTORS
    rows = min(range(most, most // 2, -1), key=lambda rows: _busiest(spec.count, rows))
    high = ceildiv(spec.count, rows)
    longest = max(1, room(spec.source.shape[3], spec.way, machine) // rows)
    sizes = dict.fromkeys(min(longest, block_size(high, wanted)) for wanted in (FEW // 2, FEW, MANY))
    return [*(Run(rows, size) for size in sizes), Run(rows - 1 if 1 in sizes else rows, 1), Run(ceildiv(rows, 2), 1)]


def _busiest(count: int, rows: int) -> int:
    """Tiles of the busier one of two lanes, register tiles counted as if they were full."""
    return ceildiv(ceildiv(count, rows), 2) * rows
