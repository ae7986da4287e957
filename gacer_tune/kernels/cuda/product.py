"""Products of matrices on a GPU, which convolutions and batched products are: how thread blocks tile the result.

A block computes rows x columns of one product. Each of its warps has warp_rows x 32 of them in registers and adds up
over the reduction, in an order that does not depend on the tile: so all variants give the same bits. Large tiles read
each operand seldom and so use few processors well; small ones make more blocks and spread over all of them.

The reduction of a small result is cut into parts, whose sums are added in order: as many for all variants of a kernel.
A block computes them one after the other, or at the same time by teams of warps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.tensor import ceildiv

WARP_COLUMNS = 32
LINE = 64  # bytes of a row of the left operand that one step of the reduction covers
SHARED = 48 << 10  # bytes of a block, without asking the driver for more
DEEP_SHARED = 96 << 10  # what a deep tile may ask for: a processor has 164 KiB (sm_80) or 228 KiB (sm_90)
STAGES = 4
VARIANTS = 5
PIECE = 16  # rows that a warp brings into order at a time when sums leave its registers
PAD = 40  # words from one row to the next one then: lanes that write pairs of different rows meet no bank twice
PARTS = (4, 2)

# Of the estimate, in cycles of a processor: bytes that it reads from L2 in one, one access to L2, a block's start.
READ, LATENCY, START = 40, 800, 2000


@dataclass(frozen=True, slots=True)
class ProductTile:
    """rows x columns of the result for a block, warp_rows x 32 of them for each warp of a team.

    teams: 1, or as many as the reduction has parts. deep: more steps are on their way, in dynamic shared memory.
    """

    rows: int
    columns: int
    warp_rows: int
    teams: int = 1
    deep: bool = False

    @property
    def warps(self) -> int:
        """Warps of a team."""
        return self.rows // self.warp_rows * (self.columns // WARP_COLUMNS)

    @property
    def team_threads(self) -> int:
        return 32 * self.warps

    @property
    def threads(self) -> int:
        return self.team_threads * self.teams

    @property
    def team_nbytes(self) -> int:
        """Shared memory for one step of a team."""
        return (self.rows + self.columns) * LINE

    @property
    def stage_nbytes(self) -> int:
        """Shared memory for one step of all teams."""
        return self.team_nbytes * self.teams

    def stages(self, steps: int) -> int:
        """How many steps are in shared memory at a time: those that are being read while one is multiplied."""
        return min(STAGES, (DEEP_SHARED if self.deep else SHARED) // self.stage_nbytes, max(steps // self.teams, 2))

    @property
    def result_words(self) -> int:
        """Shared memory, in words, without which results cannot be brought into order."""
        return self.warps * PIECE * PAD

    def shared_words(self, steps: int) -> int:
        """Shared memory of a block in words: for the operands, then for the sums of other teams, then for results."""
        sums = self.team_threads * self.warp_rows * (self.teams - 1)
        return max(self.stages(steps) * self.stage_nbytes // 4, self.result_words, sums)


@dataclass(frozen=True, slots=True)
class Product:
    """`count` products of (m, k) by (k, n)."""

    count: int
    m: int
    n: int
    k: int

    def steps(self, gpu: Gpu) -> int:
        return ceildiv(self.k, depth(gpu))

    def parts(self, gpu: Gpu) -> int:
        """Parts of the reduction: more than one where tiles of 32 x 32 are too few to fill the processors."""
        steps, blocks = self.steps(gpu), self.blocks(ProductTile(32, 32, 16))
        fitting = (n for n in PARTS if steps % n == 0 and steps >= 4 * n and blocks * n <= 4 * gpu.sms)
        return next(fitting, 1)

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
    """By estimate: the fastest tile, then those that need less of the processors the slower they are, then others."""
    by_time = sorted(fitting(product, gpu), key=lambda tile: cycles(product, tile, gpu))
    front: list[ProductTile] = []
    for tile in by_time:
        if not front or work(product, tile, gpu) < 0.9 * work(product, front[-1], gpu):
            front.append(tile)
    wishes = [front[0], front[-1], *front[1:-1], *by_time]
    return list(dict.fromkeys(wishes))[:VARIANTS]


def fitting(product: Product, gpu: Gpu) -> list[ProductTile]:
    """Tiles of which less than half is of no use (unless there is none smaller), with and without teams.

    Deep ones beside those that are not where they hold more steps, and instead of those that hold two.
    """
    sizes = [tile for tile in TILES if tile.rows < max(2 * product.m, 17) and tile.columns < max(2 * product.n, 33)]
    teams, steps = dict.fromkeys((1, product.parts(gpu))), product.steps(gpu)
    found = []
    for tile in (replace(tile, teams=n) for tile in sizes for n in teams):
        if 2 * tile.stage_nbytes > SHARED or tile.threads > 512:
            continue
        deep = replace(tile, deep=True)
        stages, more = tile.stages(steps), deep.stages(steps)
        found += [tile] if stages > 2 or more == 2 else []
        found += [deep] if more > stages else []
    return found


def work(product: Product, tile: ProductTile, gpu: Gpu) -> float:
    """Cycles by the number of processors that have a block at all."""
    return cycles(product, tile, gpu) * min(gpu.sms, product.blocks(tile))


def resident(tile: ProductTile, stages: int) -> int:
    """Blocks that a processor holds at a time, by threads, shared memory and an estimate of registers."""
    registers = (tile.warp_rows + 64) * tile.threads
    return max(1, min(2048 // tile.threads, (160 << 10) // (stages * tile.stage_nbytes), 65536 // registers))


def cycles(product: Product, tile: ProductTile, gpu: Gpu) -> float:
    """Estimated time: a processor multiplies, reads from L2 or waits for its operands, whichever takes longest."""
    steps = product.steps(gpu)
    stages = tile.stages(steps)
    most = ceildiv(product.blocks(tile), gpu.sms)  # blocks that one processor gets
    together = min(most, resident(tile, stages))
    rate = {"fp32": 128, "tf32": 256, "fp16": 512}[gpu.precision]  # multiply-adds a cycle of a processor
    reached = min(rate, rate / 8 * tile.warps * tile.teams * together)  # few warps do not keep it busy
    multiply = together * tile.teams * tile.rows * tile.columns * depth(gpu) / reached
    read = together * tile.stage_nbytes / READ
    step = max(multiply, read, LATENCY / (stages - 1))
    ends = START + together * (tile.teams + 1) * tile.rows * tile.columns / 16
    return ceildiv(most, together) * (steps / tile.teams * step + ends)
