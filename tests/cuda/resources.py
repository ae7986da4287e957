"""Prints what the tiles of products take of a GPU: `python -m tests.cuda.resources [ARCH]` (needs nvcc)."""

from __future__ import annotations

import sys
from dataclasses import replace

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.compile import compile_source
from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu
from gacer_tune.kernels.cuda.occupancy import blocks_per_sm
from gacer_tune.kernels.cuda.product import TILES
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Source
from gacer_tune.kernels.tensor import Tensor, dense
from tests.cuda.variants import PRECISIONS


def convolution(size: int, channels: int, gpu: Gpu) -> Conv2d:
    """3x3 over an image of size x size, with bias and ReLU."""
    image = dense((1, size, size, channels), gpu.dtype)
    bias = Tensor(image.shape, (0, 0, 0, 1), gpu.dtype)
    program = Program((Step("add", (Arg("acc"), Arg("operand", 0))), Step("relu", (Arg("step", 0),))), (bias,))
    return Conv2d(image, image, (3, 3), pad=(1, 1), program=program)


def main(arch: str = "sm_90") -> None:
    print("| tile | teams |" + "".join(f" {p} registers | spills | shared | blocks |" for p in PRECISIONS))
    print("|---|---|" + "---|---|---|---|" * len(PRECISIONS))
    for size, channels, parts in ((112, 128, 1), (14, 256, 4)):
        for tile in TILES:
            cells = []
            for precision in PRECISIONS:
                gpu = replace(GPUS[arch], precision=precision)
                tried = replace(tile, teams=parts)
                if 2 * tried.stage_nbytes > 48 << 10 or tried.threads > 512:
                    continue
                source = source_of(Source(convolution(size, channels, gpu), tried, gpu).emit("kernel"), gpu)
                found = compile_source(source, arch).resources
                cells.append(f" {found.registers} | {found.spill_nbytes} | {found.shared_nbytes} ")
                cells.append(f" {blocks_per_sm(found, arch)} |")
            if cells:
                print(f"| {tile.rows}x{tile.columns} | {parts} |" + "|".join(cells).replace("||", "|"))


if __name__ == "__main__":
    main(*sys.argv[1:])
