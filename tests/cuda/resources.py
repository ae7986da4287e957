"""Prints what the tiles of products take of a GPU: `python -m tests.cuda.resources [ARCH]` (needs nvcc)."""

from __future__ import annotations

import sys
from dataclasses import replace

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.compile import compile_source
from gacer_tune.kernels.cuda.conv2d import product_of
from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu
from gacer_tune.kernels.cuda.occupancy import blocks_per_sm
from gacer_tune.kernels.cuda.product import TILES, ProductTile, fitting
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


def cells(spec: Conv2d, tile: ProductTile, gpu: Gpu) -> str:
    """What ptxas says of one tile, and blocks at a time on one multiprocessor."""
    if tile not in fitting(product_of(spec), gpu):
        return " - | - | - | - |"
    found = compile_source(source_of(Source(spec, tile, gpu).emit("kernel"), gpu), gpu.arch).resources
    return f" {found.registers} | {found.spill_nbytes} | {found.shared_nbytes} | {blocks_per_sm(found, gpu.arch)} |"


def main(arch: str = "sm_90") -> None:
    print("| tile | teams |" + "".join(f" {p} registers | spills | shared | blocks |" for p in PRECISIONS))
    print("|---|---|" + "---|---|---|---|" * len(PRECISIONS))
    gpus = [replace(GPUS[arch], precision=precision) for precision in PRECISIONS]
    for size, channels, parts in ((112, 128, 1), (14, 256, 4)):
        for tile in (replace(tile, teams=parts, deep=deep) for tile in TILES for deep in (False, True)):
            row = "".join(cells(convolution(size, channels, gpu), tile, gpu) for gpu in gpus)
            if any(digit in row for digit in "0123456789"):
                print(f"| {tile.rows}x{tile.columns}{' deep' if tile.deep else ''} | {parts} |{row}")


if __name__ == "__main__":
    main(*sys.argv[1:])
