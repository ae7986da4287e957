"""Products of matrices on a GPU, which convolutions and batched products are: how thread blocks tile the result.

A block computes rows x columns of one product. Each of its warps has warp_rows x 32 of them in registers and adds up
over the whole reduction, in an order that does not depend on the tile: so all variants give the same bits. Large tiles
read each operand seldom and so use few processors well; small ones make more blocks and spread over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.tensor import ceildiv

WARP_COLUMNS = 32
LINE = 64  # bytes of a row of the left operand that one step of the reduction covers
SHARED = 48 << 10  # bytes of a block, without asking the driver for more
STAGES = 4
VARIANTS = 5


@dataclass(frozen=True, slots=True)
class ProductTile:
    """rows x columns of the result for a block, warp_rows x 32 of them for each warp."""

    rows: int
    columns: int
    warp_rows: int

    @property
    def warps(self) -> int:
        return self.rows // self.warp_rows * (self.columns // WARP_COLUMNS)

    @property
    def threads(self) -> int:
        return 32 * self.warps

    @property
    def stage_nbytes(self) -> int:
        """Shared memory for one step of the reduction."""
        return (self.rows + self.columns) * LINE

    def stages(self, steps: int) -> int:
        """How many steps are in shared memory at a time: those that are being read while one is multiplied."""
        return min(STAGES, SHARED // self.stage_nbytes, max(steps, 2))


@dataclass(frozen=True, slots=True)
class Product:
    """`count` products of (m, k) by (k, n)."""

    count: int
    m: int
    n: int
    k: int

    def steps(self, gpu: Gpu) -> int:
        return ceildiv(self.k, depth(gpu))

    def blocks(self, tile: ProductTile) -> int:
        return self.count * ceildiv(self.m, tile.rows) * ceildiv(self.n, tile.columns)


TILES = tuple(
    ProductTile(*sizes)
    for sizes in (
        (128, 128, 64),
        (128, 64, 64),
        (64, 128, 64),
        (128, 32, 32),
        (64, 64, 32),
        (64, 32, 16),
        (32, 128, 32),
        (32, 64, 16),
        (32, 32, 16),
        (16, 128, 16),
        (16, 64, 16),
        (16, 32, 16),
    )
)


def depth(gpu: Gpu) -> int:
    """Elements of the reduction that one step covers."""
    return LINE // (2 if gpu.precision == "fp16" else 4)


def candidates(product: Product, gpu: Gpu) -> list[ProductTile]:
    """The fastest tile by estimate, the one that needs least of the processors' time, the next fastest ones."""
    fitting = [tile for tile in TILES if _fits(tile, product)]
    by_time = sorted(fitting, key=lambda tile: cycles(product, tile, gpu))
    by_work = sorted(fitting, key=lambda tile: cycles(product, tile, gpu) * shares(product, tile, gpu))
    by_spread = sorted(by_time[: 2 * VARIANTS], key=lambda tile: -product.blocks(tile))
    wishes = [by_time[0], by_work[0], by_spread[0], *by_time]
    return list(dict.fromkeys(wishes))[:VARIANTS]


def _fits(tile: ProductTile, product: Product) -> bool:
    """Tiles of which half is never used are left out, unless there is none smaller."""
    return tile.rows < max(2 * product.m, 17) and tile.columns < max(2 * product.n, 33)


def shares(product: Product, tile: ProductTile, gpu: Gpu) -> float:
    """Share of the processors that have a block at all."""
    return min(1.0, product.blocks(tile) / gpu.sms)


def resident(tile: ProductTile, stages: int) -> int:
    """Blocks that a processor holds at a time, by warps, shared memory and an estimate of registers."""
    registers = tile.warp_rows + 64
    return max(
        1, min(64 // tile.warps, (160 << 10) // (stages * tile.stage_nbytes), 65536 // (registers * tile.threads))
    )


def cycles(product: Product, tile: ProductTile, gpu: Gpu) -> float:
    """Estimated time: a processor multiplies, reads from L2 or waits for its operands, whichever takes longest."""
    steps = product.steps(gpu)
    stages = tile.stages(steps)
    most = ceildiv(product.blocks(tile), gpu.sms)  # blocks that one processor gets
    together = min(most, resident(tile, stages))
    rate = {"fp32": 128, "tf32": 256, "fp16": 512}[gpu.precision]  # multiply-adds a cycle of a processor
    multiply = together * tile.rows * tile.columns * depth(gpu) / min(rate, 32 * tile.warps * together)
    read = together * tile.stage_nbytes / 40
    wait = 800 / (stages - 1)
    return ceildiv(most, together) * (
        steps * max(multiply, read, wait) + 2000 + together * tile.rows * tile.columns / 16
    )
