"""Multiplies the panels of one step on tensor cores: a warp holds 16 x 8 pieces of its part of the result."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, call, local
from gacer_tune.kernels.cuda.emit.panel import Layout, Team
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import PAD, WARP_COLUMNS, ProductTile

COLUMNS = WARP_COLUMNS // 8  # pieces side by side


class Mma:
    def __init__(self, team: Team, tile: ProductTile, gpu: Gpu, layouts: tuple[Layout, Layout]) -> None:
        self.gpu = gpu
        self.left, self.right = layouts
        self.pieces = tile.warp_rows // 16
        warp, across = tirx.truncdiv(team.thread, 32), tile.columns // WARP_COLUMNS
        self.lane = tirx.truncmod(team.thread, 32)
        self.row, self.column = tirx.truncdiv(warp, across) * tile.warp_rows, tirx.truncmod(warp, across)
        self.size = self.pieces * COLUMNS * 4
        self.sums = local(self.size)

    def clear(self) -> None:
        with T.unroll(self.size) as i:
            T.buffer_store(self.sums, tirx.const(0.0, "float32"), [i])

    def step(self, memory: Any, stage: Expr) -> None:
        """Two instructions deep for each piece: 16 elements of the reduction each, 8 for tf32."""
        a, b = local(self.pieces * 4, "uint32"), local(COLUMNS * 2, "uint32")
        with T.serial(0, 2) as half:
            with T.unroll(self.pieces) as i:
                word = self.left.word(self.row + i * 16 + self.lane % 16, half * 2 + tirx.truncdiv(self.lane, 16))
                call("gt_ldmatrix", T.address_of(a[i * 4]), T.address_of(memory[stage + word]))
            self._right(memory, stage, half, b)
            self._rounded(a, self.pieces * 4)
            self._rounded(b, COLUMNS * 2)
            name = "gt_mma_f16" if self.gpu.precision == "fp16" else "gt_mma_tf32"
            with T.unroll(self.pieces) as i, T.unroll(COLUMNS) as j:
                piece = T.address_of(self.sums[(i * COLUMNS + j) * 4])
                call(name, piece, T.address_of(a[i * 4]), T.address_of(b[j * 2]))

    def _right(self, memory: Any, stage: Expr, half: Expr, b: Any) -> None:
        lane = self.lane
        if self.right.along == "n" and self.gpu.precision == "tf32":
            with T.unroll(COLUMNS) as j, T.unroll(2) as i:
                line = self.column * 16 + half * 8 + i * 4 + lane % 4
                word = self.right.word(line, j * 2 + tirx.truncdiv(lane, 16)) + tirx.truncdiv(lane, 4) % 4
                T.buffer_store(b, memory[stage + word], [j * 2 + i])
            return
        with T.unroll(COLUMNS // 2) as j:
            if self.right.along == "n":
                name = "gt_ldmatrix_trans"
                word = self.right.word(self.column * 32 + half * 16 + lane % 16, j * 2 + tirx.truncdiv(lane, 16))
            else:
                name = "gt_ldmatrix"
                line = self.column * WARP_COLUMNS + j * 16 + lane % 8 + tirx.truncdiv(lane, 16) * 8
                word = self.right.word(line, half * 2 + tirx.truncdiv(lane, 8) % 2)
            call(name, T.address_of(b[j * 4]), T.address_of(memory[stage + word]))

    def _rounded(self, fragments: Any, count: int) -> None:
        if self.gpu.precision == "tf32":
            with T.unroll(count) as i:
                T.buffer_store(fragments, T.call_pure_extern("uint32", "gt_tf32", fragments[i]), [i])

    def put(self, memory: Any, word: Expr, piece: int) -> None:
        with T.unroll(COLUMNS) as j, T.unroll(2) as i:
            at = (tirx.truncdiv(self.lane, 4) + i * 8) * PAD + j * 8 + self.lane % 4 * 2
            pair = T.address_of(self.sums[(piece * COLUMNS + j) * 4 + i * 2])
            call("gt_put_pair", T.address_of(memory[word + at]), pair)
