"""How sums leave the registers they were added up in: in order, so that neighbours are stored together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, call, local
from gacer_tune.kernels.cuda.product import PAD, PIECE, WARP_COLUMNS, ProductTile


class Core(Protocol):
    """What multiplies: `size` sums of a thread. put(memory, word, piece) stores a piece of the warp's rows, PAD apart.

    row: first row of the warp within the block's tile; column: which 32 columns it has.
    """

    sums: Any
    size: int
    row: Expr
    column: Expr

    def clear(self) -> None: ...

    def step(self, memory: Any, stage: Expr) -> None: ...

    def put(self, memory: Any, word: Expr, piece: int) -> None: ...


def results(
    core: Core,
    tile: ProductTile,
    thread: Expr,
    memory: tuple[Any, int],
    body: Callable[[Expr, Expr, list[Expr]], None],
    width: int,
) -> None:
    """body(row, first column, `width` neighbours) for all that a thread is to store; memory: buffer, words.

    As many pieces at a time as there is memory for: body is emitted once for each time.
    """
    buffer, size = memory
    pieces = tile.warp_rows // PIECE
    some = max(n for n in (1, 2, 4) if n == 1 or (n <= pieces and n * tile.result_words <= size))
    lane, chunks = tirx.truncmod(thread, 32), WARP_COLUMNS // width
    mine = tirx.truncdiv(thread, 32) * (some * PIECE * PAD)
    for first in range(0, pieces, some):
        for piece in range(some):
            core.put(buffer, mine + piece * (PIECE * PAD), first + piece)
        call("gt_sync_warp")
        with T.serial(0, some * PIECE * chunks // 32) as turn:
            run = local(width)
            row, column = turn * (32 // chunks) + tirx.truncdiv(lane, chunks), tirx.truncmod(lane, chunks) * width
            for part in range(0, width, 4):
                words = T.address_of(buffer[mine + row * PAD + column + part])
                call("gt_read", T.address_of(run[part]), words)
            values = [run[i] for i in range(width)]
            body(core.row + first * PIECE + row, core.column * WARP_COLUMNS + column, values)
        call("gt_sync_warp")
