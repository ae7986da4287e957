"""Loops over the taps of a sliding window and over the output columns that share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.window import Columns, Window

Expr = Any
WIDE = 7  # windows up to this width are unrolled along the row: neighbouring taps read the same columns


def rows_inside(window: Window, row: Expr) -> tuple[Expr, Expr]:
    """First window row of an output row that lies in the image, and how many do (perhaps none: then not positive)."""
    if not window.clipped_rows:
        return 0, window.size[0]
    top, step = row * window.stride[0] - window.pad[0], window.dilation[0]
    first = (tirx.max(-top, 0) + step - 1) // step
    return first, tirx.min(window.size[0], (window.image[0] - 1 - top + step) // step) - first


def each_columns(window: Window, count: int, body: Callable[[Expr, Columns], None]) -> None:
    """Run body(first column, its run) for each tile of `count` output columns; clipped ones are emitted one by one."""
    for run in window.columns(count):
        if run.tiles == 1:
            body(run.start, run)
        else:
            with loop(run.tiles) as tile:
                body(run.start + tile * run.count, run)


def each_tap(window: Window, row: Expr, columns: Columns, body: Callable[[Expr, Expr], None], wide: int = 1) -> None:
    """Run body(window row, window column) for each tap of a tile whose row lies in the image.

    Window columns are emitted one by one where some leave the image, or where there are at most `wide` of them.
    """
    first, count = rows_inside(window, row)
    with loop(count) as y:
        if columns.clipped or window.size[1] <= wide:
            for x in range(window.size[1]):
                body(first + y, x)
        else:
            with loop(window.size[1]) as x:
                body(first + y, x)


def taps_inside(window: Window, columns: Columns, tap: Expr) -> list[int]:
    """Columns of a tile whose window column `tap` (a number, if the tile is clipped) lies in the image."""
    if not columns.clipped:
        return list(range(columns.count))
    return window.inside(columns.start, columns.count, tap)


def row_of(window: Window, row: Expr, tap: Expr) -> Expr:
    """Image row that window row `tap` of an output row reads."""
    return row * window.stride[0] + tap * window.dilation[0] - window.pad[0]


def column_of(window: Window, column: Expr, tap: Expr) -> Expr:
    """Image column that window column `tap` of an output column reads."""
    return column * window.stride[1] + tap * window.dilation[1] - window.pad[1]
