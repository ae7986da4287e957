"""Multiplies the panels of one step in float32: a thread holds every fourth row by 4 columns of its warp's part."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, call, local
from gacer_tune.kernels.cuda.emit.panel import Layout, Team
from gacer_tune.kernels.cuda.product import PAD, PIECE, WARP_COLUMNS, ProductTile


class Simt:
    def __init__(self, team: Team, tile: ProductTile, layouts: tuple[Layout, Layout]) -> None:
        self.left, self.right = layouts
        self.rows = tile.warp_rows // 4
        warp, across = tirx.truncdiv(team.thread, 32), tile.columns // WARP_COLUMNS
        lane = tirx.truncmod(team.thread, 32)
        self.row, self.quarter = tirx.truncdiv(warp, across) * tile.warp_rows, tirx.truncdiv(lane, 8)
        self.column, self.lane = tirx.truncmod(warp, across), lane % 8
        self.size = self.rows * 4
        self.sums = local(self.size)

    def clear(self) -> None:
        with T.unroll(self.size) as i:
            T.buffer_store(self.sums, tirx.const(0.0, "float32"), [i])

    def step(self, memory: Any, stage: Expr) -> None:
        """Four elements of the reduction at a time, in order."""
        a, b = local(4), local(16)
        by_rows = self.right.along == "n"
        with T.serial(0, 4) as chunk:
            with T.unroll(4) as i:
                if by_rows:
                    word = self.right.word(self.column * 16 + chunk * 4 + i, self.lane)
                else:
                    word = self.right.word(self.column * WARP_COLUMNS + i * 8 + self.lane, chunk)
                call("gt_read", T.address_of(b[i * 4]), T.address_of(memory[stage + word]))
            with T.unroll(self.rows) as i:
                word = self.left.word(self.row + self.quarter + i * 4, chunk)
                call("gt_read", T.address_of(a[0]), T.address_of(memory[stage + word]))
                sums = T.address_of(self.sums[i * 4])
                call(f"gt_multiply<{str(by_rows).lower()}>", sums, T.address_of(a[0]), T.address_of(b[0]))

    def put(self, memory: Any, word: Expr, piece: int) -> None:
        by_rows = self.right.along == "n"
        for i in range(PIECE // 4):
            row, first = word + (i * 4 + self.quarter) * PAD, (piece * (PIECE // 4) + i) * 4
            if by_rows:
                call("gt_read", T.address_of(memory[row + self.lane * 4]), T.address_of(self.sums[first]))
                continue
            for j in range(4):
                bits = tirx.reinterpret("uint32", self.sums[first + j])
                T.buffer_store(memory, bits, [row + j * 8 + self.lane])
