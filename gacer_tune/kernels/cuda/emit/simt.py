"""Multiplies the panels of one step in float32: a thread holds every fourth row by 4 columns of its warp's part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, Function, call, local
from gacer_tune.kernels.cuda.emit.panel import Layout
from gacer_tune.kernels.cuda.product import WARP_COLUMNS, ProductTile


class Simt:
    def __init__(self, function: Function, tile: ProductTile, layouts: tuple[Layout, Layout]) -> None:
        self.left, self.right = layouts
        self.rows = tile.warp_rows // 4
        warp, across = tirx.truncdiv(function.thread, 32), tile.columns // WARP_COLUMNS
        lane = tirx.truncmod(function.thread, 32)
        self.row = tirx.truncdiv(warp, across) * tile.warp_rows + tirx.truncdiv(lane, 8)
        self.warp_column, self.lane = tirx.truncmod(warp, across), lane % 8
        self.sums = local(self.rows * 4)

    @staticmethod
    def words(tile: ProductTile) -> int:  # noqa: ARG004 - results leave from registers
        """Shared memory that `results` needs."""
        return 0

    def clear(self) -> None:
        with T.unroll(self.rows * 4) as i:
            T.buffer_store(self.sums, tirx.const(0.0, "float32"), [i])

    def step(self, memory: Any, stage: Expr) -> None:
        """Four elements of the reduction at a time, in order."""
        a, b = local(4), local(16)
        by_rows = self.right.along == "n"
        with T.serial(0, 4) as chunk:
            with T.unroll(4) as i:
                if by_rows:
                    word = self.right.word(self.warp_column * 16 + chunk * 4 + i, self.lane)
                else:
                    word = self.right.word(self.warp_column * WARP_COLUMNS + i * 8 + self.lane, chunk)
                call("gt_read", T.address_of(b[i * 4]), T.address_of(memory[stage + word]))
            with T.unroll(self.rows) as i:
                word = self.left.word(self.row + i * 4, chunk)
                call("gt_read", T.address_of(a[0]), T.address_of(memory[stage + word]))
                sums = T.address_of(self.sums[i * 4])
                call(f"gt_multiply<{str(by_rows).lower()}>", sums, T.address_of(a[0]), T.address_of(b[0]))

    def results(self, memory: Any, body: Callable[[Expr, Expr, list[Expr]], None]) -> None:  # noqa: ARG002
        """body(row, first column, neighbouring values) for all that this thread is to store."""
        column = self.warp_column * WARP_COLUMNS
        for i in range(self.rows):
            values = [self.sums[i * 4 + j] for j in range(4)]
            if self.right.along == "n":
                body(self.row + i * 4, column + self.lane * 4, values)
                continue
            for j, value in enumerate(values):
                body(self.row + i * 4, column + j * 8 + self.lane, [value])
