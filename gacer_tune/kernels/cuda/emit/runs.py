"""What a thread does in a kernel whose tile is a `RunTile`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.runs import RunTile, run_count
from gacer_tune.kernels.emit.blocks import unravel
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Body = Callable[[tuple[Expr, ...], int], None]


def each_run(function: Function, shape: Sequence[int], tile: RunTile, block: Expr, body: Body) -> None:
    """Run body(index of the first value, width) for the runs of this thread; the rest of an axis goes one by one."""
    last, count = shape[-1], run_count(shape, tile.width)

    def run(number: Expr) -> None:
        *outer, across = unravel(number, (*shape[:-1], ceildiv(last, tile.width)))
        first = across * tile.width

        def rest() -> None:
            with loop(last % tile.width) as step:
                body((*outer, first + step), 1)

        if last % tile.width == 0:
            body((*outer, first), tile.width)
        elif last < tile.width:
            rest()
        else:
            when(first + tile.width <= last, lambda: body((*outer, first), tile.width), rest)

    def checked(step: Expr) -> None:
        number = (block * tile.runs + step) * tile.threads + function.thread
        if count % (tile.threads * tile.runs) == 0:
            run(number)
        else:
            when(number < count, lambda: run(number))

    if tile.runs == 1:
        checked(0)
    else:
        with loop(tile.runs) as step:
            checked(step)
