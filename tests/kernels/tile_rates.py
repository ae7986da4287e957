"""`python -m tests.kernels.tile_rates`: what a product of two tiles of bfloat16 takes by how many tiles are in use.

A way to multiply is sums (rows x columns of tiles), and whether each operand of a step has a tile of its own (`all`) or
one tile is loaded again and again (`one`). All ways take turns; a line gives median and shortest nanoseconds a product.
"""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.executor import amx
from gacer_tune.executor.session import aligned
from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.emit.function import Function, loop
from gacer_tune.kernels.machine import AMX
from gacer_tune.kernels.tensor import dense

WAYS = ((2, 2, "all"), (2, 2, "one"), (4, 1, "one"), (3, 1, "one"), (2, 1, "one"), (1, 1, "one"))
TURNS, RUNS, STEPS, TILE = 300, 200, 8, 512


def instruction(name: str, *args: Any) -> None:
    T.evaluate(T.call_llvm_intrin("void", f"llvm.x86.{name}", *args))


def number(tile: int) -> Any:
    return tirx.const(tile, "int8")


def kernel(rows: int, columns: int, tiles: str, name: str) -> tirx.PrimFunc:
    """Operands: a configuration of tiles, left, right, sums."""
    function = Function(name, [dense((64,), "uint8"), *(dense((32 * TILE,), "uint16") for _ in "lr"), dense((256,))])
    sums = rows * columns
    rights = [sums + column for column in range(columns)]
    lefts = [rights[-1] + 1 + (row if tiles == "all" else 0) for row in range(rows)]

    def load(tile: int, operand: int, place: Any) -> None:
        line = tirx.const(64, "int64")
        instruction("tileloadd64", number(tile), T.address_of(function.buffers[operand][place * TILE]), line)

    def start(_: Any) -> Any:
        instruction("ldtilecfg", T.address_of(function.buffers[0][0]))
        for tile in range(max(lefts) + 1):
            instruction("tilezero", number(tile))
        return run

    def run(_: Any) -> None:
        with loop(STEPS) as step:
            for column, tile in enumerate(rights):
                load(tile, 2, step * 2 + column)
            for row, left in enumerate(lefts):
                load(left, 1, step * 2 + row % 2)
                for column, right in enumerate(rights):
                    instruction("tdpbf16ps", number(row * columns + column), number(left), number(right))

    return function.build_from(start)


def compiled(ways: Sequence[tuple[int, int, str]], folder: Path) -> list[Any]:
    found = []
    for index, way in enumerate(ways):
        name = f"way{index}"
        built, library = folder / f"{name}.o", folder / f"{name}.so"
        built.write_bytes(object_code(kernel(*way, name), AMX))
        subprocess.run(["cc", "-shared", "-o", library, built], check=True)
        found.append(getattr(ctypes.CDLL(str(library)), name))
    return found


def main() -> None:
    amx.require("tile_rates")
    palette = aligned(64, np.uint8)
    palette[0], palette[48:56] = 1, 16
    palette[16:32].view(np.uint16)[:] = 64
    blocks = [palette, *(aligned(32 * TILE, np.uint16) for _ in "lr"), aligned(256, np.float32)]
    places = [ctypes.c_void_p(block.ctypes.data) for block in blocks]
    with tempfile.TemporaryDirectory() as folder:
        ways = compiled(WAYS, Path(folder))
        taken: list[list[float]] = [[] for _ in ways]
        for _ in range(TURNS):
            for (rows, columns, _), way, times in zip(WAYS, ways, taken, strict=True):
                began = time.perf_counter()
                way(*places, 0, RUNS)
                times.append((time.perf_counter() - began) / (RUNS * STEPS * rows * columns))
    for (rows, columns, tiles), times in zip(WAYS, taken, strict=True):
        used = rows * columns + columns + (rows if tiles == "all" else 1)
        print(
            f"{rows} x {columns} sums, {used} tiles: {statistics.median(times) * 1e9:.1f} ns, "
            f"shortest {min(times) * 1e9:.1f} ns"
        )


if __name__ == "__main__":
    main()
