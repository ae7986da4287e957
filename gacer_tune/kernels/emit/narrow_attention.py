"""Emits `NarrowAttention` kernels; see gacer_tune.kernels.narrow_attention for what they compute."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.attention import KEYS, SCORES, VALUES
from gacer_tune.kernels.emit.bfloat16 import rounded
from gacer_tune.kernels.emit.blocks import block_of, pieces, run, splat, spread, sweep, transposed, unravel
from gacer_tune.kernels.emit.fold import SUM, Fold, largest
from gacer_tune.kernels.emit.function import Function, address, loop, when
from gacer_tune.kernels.emit.tiles import Lines, Tiles
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import DEPTH, PIXELS
from gacer_tune.kernels.narrow_attention import NarrowAttention, NarrowAttentionTile
from gacer_tune.kernels.views import merged_outer

Expr = Any
_TILE = PIXELS * DEPTH  # bfloat16 of a tile
QUERY = 0


def emit(spec: NarrowAttention, tile: NarrowAttentionTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: query, keys, values, operands of the scores' program, output."""
    function = Function(name, merged_outer(spec.tensors(machine), 2), machine)
    return function.build(lambda item: _Item(spec, tile, machine, function).emit(item))


class _Item:
    """One work item."""

    def __init__(self, spec: NarrowAttention, tile: NarrowAttentionTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        _, self.m, self.n, self.d, self.e = spec.extents

    def emit(self, item: Expr) -> None:
        spec, heads = self.spec, self.spec.extents[0]
        self.batch = unravel(item % heads, self.function.tensors[-1].shape[:-2])
        keys, values, _ = spec.panels
        self.keys, self.values = Lines(keys, "uint16"), Lines(values, "uint16")
        self.queries = Lines(spec.rows * spec.chunks * DEPTH, "uint16")
        self.shares = Lines(spec.rows * spec.pitch, "uint16")
        self.scores, self.sums = Lines(spec.rows * spec.pitch, "float32"), Lines(spec.rows * spec.wide, "float32")
        self.pack_keys()
        self.pack_values()
        tiles = Tiles(self.machine)
        with block_of(spec.steps, self.tile.high, item // heads) as step:
            self.rows(tiles, T.bind(step * spec.rows))
        tiles.release()

    def pack_keys(self) -> None:
        """(tiles of keys, chunks, pairs of channels, keys, 2), zeros beyond the last key and channel."""
        tensor = self.function.tensors[KEYS]
        words = tensor.dtype == "bfloat16" and tensor.strides[-2] == 1 and self.d % DEPTH == 0

        def tile(number: Expr, count: int) -> None:
            with loop(self.spec.chunks) as chunk:
                at = T.bind((number * self.spec.chunks + chunk) * _TILE)
                (self.turn if words else self.spell)((KEYS, self.keys, at), (chunk * DEPTH, number * PIXELS), count)

        self.whole_and_last(self.n, PIXELS, self.spec.pitch // PIXELS, tile)

    def turn(self, place: tuple[int, Lines, Expr], first: tuple[Expr, Expr], count: int) -> None:
        """A tile of keys whose channels are neighbours: pairs of them are words, and words are turned."""
        operand, panel, at = place
        tensor, vectors = self.function.tensors[operand], []
        for j in range(PIXELS):
            if j < count:
                start = address(tensor, (*self.batch, first[0], first[1] + j))
                value = self.function.buffers[operand][run(start, DEPTH)]
            else:
                value = splat(0, DEPTH, "uint16")
            vectors.append(T.bind(tirx.reinterpret(f"uint32x{PIXELS}", value)))
        for pair, row in enumerate(transposed(vectors)):
            panel.store(at + pair * DEPTH, tirx.reinterpret(f"uint16x{DEPTH}", row))

    def spell(self, place: tuple[int, Lines, Expr], first: tuple[Expr, Expr], count: int) -> None:
        """Any tile of a matrix (depth, columns), element by element."""
        operand, panel, at = place
        depth = self.function.tensors[operand].shape[-2]
        with loop(PIXELS) as pair:
            panel.store(at + pair * DEPTH, splat(0, DEPTH, "uint16"))
            with loop(count) as column, loop(2) as odd:
                k = T.bind(first[0] + 2 * pair + odd)

                def keep(k: Expr = k, column: Expr = column, odd: Expr = odd) -> None:
                    value = T.bind(self.function.load(operand, (*self.batch, k, first[1] + column)))
                    panel.store(at + pair * DEPTH + 2 * column + odd, rounded(value, self.machine))

                when(k < depth, keep)

    def pack_values(self) -> None:
        """(chunks of keys, tiles of columns, pairs of keys, columns, 2), zeros beyond the last key and column."""
        tensor, across = self.function.tensors[VALUES], self.spec.wide // PIXELS
        words = tensor.dtype == "bfloat16" and tensor.strides[-1] == 1

        def tile(number: Expr, count: int) -> None:
            with loop(self.spec.pitch // DEPTH) as chunk:
                at, first = T.bind((chunk * across + number) * _TILE), (chunk * DEPTH, number * PIXELS)
                whole = words and count == PIXELS
                (self.pair if whole else self.spell)((VALUES, self.values, at), first, count)

        self.whole_and_last(self.e, PIXELS, across, tile)

    def pair(self, place: tuple[int, Lines, Expr], first: tuple[Expr, Expr], count: int) -> None:
        """A whole tile of values: two rows of them, word by word."""
        operand, panel, at = place
        tensor = self.function.tensors[operand]

        def row(k: Expr) -> Expr:
            value = self.function.buffers[operand][run(address(tensor, (*self.batch, k, first[1])), count)]
            return scalar.cast(value, "uint32")

        with loop(PIXELS) as pair:
            k = T.bind(first[0] + 2 * pair)
            where = at + pair * DEPTH

            def keep(words: Expr) -> None:
                panel.store(where, tirx.reinterpret(f"uint16x{DEPTH}", words))

            def both() -> None:
                odd = row(k + 1)
                keep(T.bind(row(k) | (odd << scalar.like(16, odd))))

            def some() -> None:
                when(k < self.n, lambda: keep(T.bind(row(k))), lambda: keep(splat(0, count, "uint32")))

            when(k + 1 < self.n, both, some)

    def whole_and_last(self, extent: int, size: int, tiles: int, body: Any) -> None:
        """Run body(tile, how much of it there is) for each of so many tiles; beyond the extent there is nothing."""
        whole = extent // size
        if whole:
            with loop(whole) as number:
                body(number, size)
        for number in range(whole, tiles):
            body(number, max(0, min(size, extent - number * size)))

    def rows(self, tiles: Tiles, first: Expr) -> None:
        """A step, from the query to the output."""
        spec = self.spec
        with loop(spec.rows) as i:
            when(first + i < self.m, lambda: self.query(first + i, i))
        with loop(spec.pitch // PIXELS) as number:
            keys = number * spec.chunks * _TILE
            self.product(tiles, (self.queries, self.keys, keys, _TILE), spec.chunks)
            for i in range(spec.deep):
                tiles.store(i, self.scores, i * PIXELS * spec.pitch + number * PIXELS, spec.pitch)
        parts = T.alloc_buffer((spec.rows,), "float32", scope="local")
        with loop(spec.rows) as i:
            when(first + i < self.m, lambda: T.buffer_store(parts, self.softmax(first + i, i), [i]))
        across = spec.wide // PIXELS
        with loop(across) as number:
            self.product(tiles, (self.shares, self.values, number * _TILE, across * _TILE), spec.pitch // DEPTH)
            for i in range(spec.deep):
                tiles.store(i, self.sums, i * PIXELS * spec.wide + number * PIXELS, spec.wide)
        with loop(spec.rows) as i:
            when(first + i < self.m, lambda: self.store(first + i, i, parts))

    def query(self, row: Expr, i: Expr) -> None:
        """A row of the query as (chunks, rows, DEPTH), zeros beyond the last channel."""
        plain = self.function.tensors[QUERY].dtype == "bfloat16"
        whole, rest = divmod(self.d, DEPTH)

        def keep(chunk: Expr, first: int, width: int) -> None:
            value = self.function.load_narrow(QUERY, (*self.batch, row, chunk * DEPTH + first), width)
            self.queries.store(chunk * self.spec.rows * DEPTH + i * DEPTH + first, value)

        if whole:
            with loop(whole) as chunk:
                for first, width in pieces(0, DEPTH, DEPTH if plain else self.machine.vector):
                    keep(chunk, first, width)
        if rest:
            self.queries.store(whole * self.spec.rows * DEPTH + i * DEPTH, splat(0, DEPTH, "uint16"))
            for first, width in pieces(0, rest, self.machine.vector):
                keep(whole, first, width)

    def product(self, tiles: Tiles, factors: tuple[Lines, Lines, Expr, int], chunks: int) -> None:
        """A step's rows (chunks, rows, DEPTH) times tiles that begin at an offset and lie so far apart."""
        left, right, start, apart = factors
        for i in range(self.spec.deep):
            tiles.zero(i)
        with loop(chunks) as k:
            tiles.load(tiles.right, right.buffer, right.start + start + k * apart, DEPTH)
            for i in range(self.spec.deep):
                at = k * self.spec.rows * DEPTH + i * _TILE
                tiles.load(tiles.left, left.buffer, left.start + at, DEPTH)
                tiles.dot(i, tiles.left, tiles.right)

    def softmax(self, row: Expr, i: Expr) -> Expr:
        """Exponentials of a row of scores as (chunks, rows, DEPTH); one over their sum."""
        spec, start = self.spec, i * self.spec.pitch

        def finished(first: Expr, some: int) -> Expr:
            raw, index = T.bind(self.scores.vector(start + first, some)), (*self.batch, row, first)
            value = T.bind(self.function.finish(spec.scores, SCORES, index, raw, some))
            if spec.scores.steps:
                self.scores.store(start + first, value)
            return value

        tops = Fold(largest("float32"), self.n, self.machine.vector)
        tops.take(finished)
        top = T.bind(tops.result())
        last = self.n // DEPTH * DEPTH
        if last < self.n:
            self.shares.store(last * spec.rows + i * DEPTH, splat(0, DEPTH, "uint16"))

        def exponential(first: Expr, some: int) -> Expr:
            value = T.bind(scalar.exp(T.bind(self.scores.vector(start + first, some) - spread(top, some))))
            at = (first // DEPTH) * spec.rows * DEPTH + i * DEPTH + first % DEPTH
            self.shares.store(at, rounded(value, self.machine))
            return value

        total = Fold(SUM, self.n, self.machine.vector)
        total.take(exponential)
        return tirx.const(1.0, "float32") / total.result()

    def store(self, row: Expr, i: Expr, parts: Any) -> None:
        def keep(first: Expr, width: int) -> None:
            value = T.bind(self.sums.vector(i * self.spec.wide + first, width) * spread(parts[i], width))
            self.function.store(-1, (*self.batch, row, first), value)

        sweep(self.e, self.machine.vector, keep)
