"""Asks for weights before they are needed, as evenly as the tiles of a sweep allow.

All tiles of a sweep read the same weights. The first one would wait for them, and memory answers a core at about
10 GB/s: less than a tile reads. So each sweep asks for the weights of the next one, a line at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gacer_tune.kernels.emit.blocks import LINE, fetch, scattered
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.tensor import STORED, ceildiv

Expr = Any
RAREST = 16  # steps from one request to the next, at most
LOOP = 8  # steps that LLVM leaves a loop: fewer become one, whose loads need registers that a full tile lacks


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a tile asks for while it adds up.

    buffer: of weights; first: where those to ask for begin; size: elements for a step; tiles: of a sweep; turn: which
    of them this one is; runs, count: a tile has runs x count steps; full: whether its sums leave no register unused.
    """

    buffer: Any
    first: Expr
    size: int
    tiles: int
    turn: Expr
    runs: int
    count: int
    full: bool

    @property
    def lines(self) -> int:
        """For a step."""
        return max(1, self.size * STORED[str(self.buffer.dtype)] // LINE)

    @property
    def at_once(self) -> int:
        """Lines that are asked for together: one, unless there are too few tiles for that."""
        return min(n for n in range(1, self.lines + 1) if self.lines % n == 0 and n * self.tiles >= self.lines)

    @property
    def every(self) -> int:
        """Steps from one request to the next."""
        most = min(RAREST, self.count, self.tiles * self.at_once // self.lines)
        return max(n for n in range(1, most + 1) if self.tiles * self.runs * (self.count // n) >= self.requests)

    @property
    def asking(self) -> int:
        """Tiles that ask: the first ones, until all is asked for."""
        return min(self.tiles, ceildiv(self.requests, self.runs * (self.count // self.every)))

    @property
    def requests(self) -> int:
        """Of all tiles together."""
        return self.runs * self.count * self.lines // self.at_once

    @property
    def elements(self) -> int:
        """Of a request."""
        return self.at_once * LINE // STORED[str(self.buffer.dtype)]

    def place(self, run: Expr, number: Expr) -> Expr:
        """Where the tile's request with this number in a run of steps begins."""
        request = (self.turn * self.runs + run) * (self.count // self.every) + number
        return self.first + scattered(request, self.requests) * self.elements

    def ask(self, run: Expr, number: Expr) -> None:
        """For what is at this place."""

        def now() -> None:
            fetch(self.buffer, self.place(run, number), self.elements)

        if self.asking < self.tiles:
            when(self.turn < self.asking, now)
        else:
            now()


def steps(count: Expr, body: Callable[[Expr], None], ahead: Ahead | None = None, run: Expr = 0) -> None:
    """Run body(step) for each step of a run, and ask meanwhile."""
    if ahead is None:
        with loop(count) as step:
            body(step)
        return
    every, whole = ahead.every, ahead.count - ahead.count % ahead.every
    if ahead.full and every < LOOP:
        with loop(whole) as step:
            when(step % every == 0, lambda: ahead.ask(run, step // every))
            body(step)
    else:
        with loop(whole // every) as number:
            ahead.ask(run, number)
            with loop(every) as step:
                body(number * every + step)
    if whole < ahead.count:
        with loop(ahead.count - whole) as step:
            body(whole + step)
