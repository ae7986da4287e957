"""Loops that kernels share: over a block of an axis, over vectors with a narrower tail, over flattened axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.tensor import STORED, ceildiv

Expr = Any
LINE = 64  # bytes of a cache line
STREAMS = 8  # of what is asked for ahead: memory answers them about 1.5 times as fast as one


def part(total: int, size: int, block: Expr, blocks: int) -> Expr:
    """Length of one of `blocks` blocks of `size` that cover `total`; past the end it is 0."""
    if blocks == 1:
        return min(size, total)
    if size * blocks == total:
        return size
    return tirx.max(tirx.min(size, total - block * size), 0)


@contextmanager
def block_of(total: int, size: int, block: Expr) -> Iterator[Expr]:
    """A loop over one of the blocks of `size` that cover `total`; its variable counts from the first block's begin."""
    with loop(part(total, size, block, ceildiv(total, size))) as step:
        yield block * size + step


def unravel(index: Expr, shape: Sequence[int]) -> tuple[Expr, ...]:
    """Indices along the axes of a shape from one row-major index; for no axes at all: ()."""
    if not shape:
        return ()
    found: list[Expr] = []
    for extent in reversed(shape[1:]):
        found.append(index % extent)
        index = index // extent
    return (index, *reversed(found))


def run(first: Expr, width: int) -> Expr:
    """Index of `width` neighbouring elements of a scratch buffer."""
    return first if width == 1 else T.ramp(first, 1, width)


def spread(value: Expr, width: int) -> Expr:
    """One element in `width` lanes."""
    return value if width == 1 else T.broadcast(value, width)


def splat(value: float, width: int, dtype: str = "float32") -> Expr:
    """A constant in `width` lanes."""
    return spread(tirx.const(value, dtype), width)


def shuffled(vectors: list[Expr], lanes: list[int]) -> Expr:
    """Lanes picked from those of all vectors, one after the other."""
    return T.bind(tirx.Shuffle(vectors, [tirx.const(lane, "int32") for lane in lanes]))


def transposed(vectors: list[Expr]) -> list[Expr]:
    """As many vectors as each has lanes (a power of two): lane j of vector i becomes lane i of vector j."""
    count, step = len(vectors), 1
    while step < count:
        lower = [lane if not lane & step else count + lane - step for lane in range(count)]
        upper = [lane + step if not lane & step else count + lane for lane in range(count)]
        for i in (i for i in range(count) if not i & step):
            pair = [vectors[i], vectors[i + step]]
            vectors[i], vectors[i + step] = shuffled(pair, lower), shuffled(pair, upper)
        step *= 2
    return vectors


def pieces(start: int, stop: int, vector: int) -> list[tuple[int, int]]:
    """(first, width) of vectors that cover [start, stop) exactly: whole ones, then powers of two.

    (0, 23, 8) -> [(0, 8), (8, 8), (16, 4), (20, 2), (22, 1)]
    """
    found = []
    while start < stop:
        width = min(vector, 1 << (stop - start).bit_length() - 1)
        found.append((start, width))
        start += width
    return found


Parts = Sequence[tuple[int, int]]


def tiles(extent: int, size: int, vector: int, block: tuple[Expr, int], body: Callable[[Expr, Parts], None]) -> None:
    """Run body(first, parts) for each tile of `size` elements in a block of them; the last tile may be smaller.

    parts are (offset, width) of the vectors that cover the tile. block is (its number, tiles in it).
    """
    number, some = block
    with block_of(ceildiv(extent, size), some, number) as tile:
        sized(tile, extent, size, lambda count: body(tile * size, pieces(0, count, vector)))


def sized(tile: Expr, extent: int, size: int, body: Callable[[int], None]) -> None:
    """Run body(elements of the tile) for one of the tiles of `size` that cover `extent`; the last may be smaller."""
    count = ceildiv(extent, size)
    last = extent - (count - 1) * size
    if count == 1 or last == size:
        body(last)
    else:
        when(tile == count - 1, lambda: body(last), lambda: body(size))


def sweep(extent: int, vector: int, body: Callable[[Expr, int], None]) -> None:
    """Run body(first, width) over [0, extent): a loop over whole vectors, then the pieces of the tail."""
    whole = extent // vector
    if whole == 1:
        body(0, vector)
    elif whole:
        with loop(whole) as step:
            body(step * vector, vector)
    for first, width in pieces(whole * vector, extent, vector):
        body(first, width)


def nest(extents: Sequence[int], body: Callable[[tuple[Expr, ...]], None]) -> None:
    """Run body(index) for each index of a shape; for no axes at all: once, with ()."""
    if not extents:
        body(())
        return
    with loop(extents[0]) as first:
        nest(extents[1:], lambda rest: body((first, *rest)))


def fetch(buffer: Any, first: Expr, count: int, cache: int = 2) -> None:
    """Bring the cache lines of `count` elements from `first` on, which need not exist, to the core's first or second
    cache."""
    kind = [tirx.const(value, "int32") for value in (0, 4 - cache, 1)]  # to be read, how near, data
    for line in range(0, count, LINE // STORED[str(buffer.dtype)]):
        T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch.p0", T.address_of(buffer[first + line]), *kind))


def scattered(step: Expr, count: int, most: int = STREAMS) -> Expr:
    """Which of `count` neighbours to ask for in a step, so that all steps ask for each once: in `most` streams, or as
    many below that as are equally long."""
    streams = max(n for n in range(1, most + 1) if count % n == 0)
    return step % streams * (count // streams) + step // streams
