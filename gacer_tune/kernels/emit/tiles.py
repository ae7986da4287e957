"""Tiles of bfloat16: AMX's instructions, or plain loops that do the same on any processor.

A tile has 16 rows of 64 bytes. The first ones add up, then comes one of pixels, then those of weights; others are not
used. Where two threads share a core, what is not in use makes room for the next loads: three sums at a time with five
tiles take about half the time of four with eight there. Alone four with seven are the faster, since they load less.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.bfloat16 import widened
from gacer_tune.kernels.emit.blocks import LINE, run
from gacer_tune.kernels.emit.function import loop
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import STORED

Expr = Any
ROWS, HALVES, FLOATS = 16, 32, 16  # rows of a tile; bfloat16 and float32 of a row
_COLUMN_BYTES, _ROW_COUNTS = 16, 48  # where a configuration begins to say so of each tile
_PAIRS = 16  # of neighbouring terms in a row


class Tiles:
    """Made within a work item; `release` ends their use. Tiles below `left` add up, `right` is the first of weights."""

    def __init__(self, machine: Machine, sums: int = 3, rights: int = 1) -> None:
        self.real = machine.tiles == "amx"
        self.left, self.right = sums, sums + 1
        if self.real:
            _configure(self.right + rights)
            return
        self.sums = T.alloc_buffer((sums * ROWS * FLOATS,), "float32", scope="local")
        self.halves = T.alloc_buffer(((1 + rights) * ROWS * HALVES,), "uint16", scope="local")

    def zero(self, tile: int) -> None:
        if self.real:
            _amx("tilezero", _number(tile))
            return
        with loop(ROWS * FLOATS) as i:
            T.buffer_store(self.sums, tirx.const(0.0, "float32"), [tile * ROWS * FLOATS + i])

    def load(self, tile: int, buffer: Any, at: Expr, stride: int) -> None:
        """16 lines that lie `stride` bfloat16 apart."""
        if self.real:
            _amx("tileloadd64", _number(tile), T.address_of(buffer[at]), tirx.const(2 * stride, "int64"))
            return
        with loop(ROWS) as i, loop(HALVES) as j:
            T.buffer_store(self.halves, buffer[at + i * stride + j], [((tile - self.left) * ROWS + i) * HALVES + j])

    def dot(self, sums: int, left: int, right: int) -> None:
        """sums[i, j] += sum of left[i, 2 k] right[k, 2 j] over k + sum of left[i, 2 k + 1] right[k, 2 j + 1] over k."""
        if self.real:
            _amx("tdpbf16ps", _number(sums), _number(left), _number(right))
            return
        both = T.alloc_buffer((2,), "float32", scope="local")
        with loop(ROWS) as i, loop(FLOATS) as j:
            for odd in range(2):
                T.buffer_store(both, tirx.const(0.0, "float32"), [odd])
            with loop(_PAIRS) as k:
                for odd in range(2):
                    x = self.halves[(left - self.left) * ROWS * HALVES + i * HALVES + 2 * k + odd]
                    y = self.halves[(right - self.left) * ROWS * HALVES + k * HALVES + 2 * j + odd]
                    T.buffer_store(both, both[odd] + widened(x) * widened(y), [odd])
            at = sums * ROWS * FLOATS + i * FLOATS + j
            T.buffer_store(self.sums, self.sums[at] + (both[0] + both[1]), [at])

    def store(self, tile: int, buffer: Lines, at: Expr, stride: int) -> None:
        """Its rows go `stride` float32 apart."""
        if self.real:
            _amx(
                "tilestored64",
                _number(tile),
                T.address_of(buffer.buffer[buffer.start + at]),
                tirx.const(4 * stride, "int64"),
            )
            return
        with loop(ROWS) as i, loop(FLOATS) as j:
            buffer.store(at + i * stride + j, self.sums[tile * ROWS * FLOATS + i * FLOATS + j])

    def release(self) -> None:
        if self.real:
            _amx("tilerelease")


class Lines:
    """Scratch that begins with a line of the cache: tiles of others take several times as long to load."""

    def __init__(self, size: int, dtype: str) -> None:
        nbytes = STORED[dtype]
        self.buffer = T.alloc_buffer((size + LINE // nbytes,), dtype, scope="local")
        address = tirx.reinterpret("uint64", T.address_of(self.buffer[0]))
        beyond = (tirx.const(LINE, "uint64") - address % tirx.const(LINE, "uint64")) // tirx.const(nbytes, "uint64")
        self.start = T.bind(tirx.Cast("int32", beyond))

    def vector(self, at: Expr, width: int) -> Expr:
        return self.buffer[run(self.start + at, width)]

    def store(self, at: Expr, value: Expr) -> None:
        T.buffer_store(self.buffer, value, [run(self.start + at, scalar.lanes(value))])


def _configure(count: int) -> None:
    """So many tiles have 16 rows of 64 bytes."""
    palette = T.alloc_buffer((64,), "uint8", scope="local")
    zero, rows = tirx.const(0, "uint8"), tirx.const(ROWS, "uint8")
    T.buffer_store(palette, T.broadcast(zero, 64), [run(0, 64)])
    T.buffer_store(palette, tirx.const(1, "uint8"), [0])
    for tile in range(count):
        T.buffer_store(palette, tirx.const(2 * HALVES, "uint8"), [_COLUMN_BYTES + 2 * tile])
        T.buffer_store(palette, rows, [_ROW_COUNTS + tile])
    _amx("ldtilecfg", T.address_of(palette[0]))


def _number(tile: int) -> Expr:
    return tirx.const(tile, "int8")


def _amx(name: str, *args: Expr) -> None:
    T.evaluate(T.call_llvm_intrin("void", f"llvm.x86.{name}", *args))
