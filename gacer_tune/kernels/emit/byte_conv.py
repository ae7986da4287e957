"""Emits `ByteConv` kernels: those of `Conv2d` with words for channels, see gacer_tune.kernels.byte_conv."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.byte_conv import WORD, ByteConv
from gacer_tune.kernels.conv2d import ConvTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.compile import FEATURES
from gacer_tune.kernels.emit.conv2d import Convolution
from gacer_tune.kernels.emit.function import Function, address
from gacer_tune.kernels.machine import Machine

Expr = Any
VNNI = {8: "+avxvnni", 16: "+avx512vnni"}  # by the width of a vector
_BITS = 8  # of a byte


def emit(spec: ByteConv, tile: ConvTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    made = function.build(ByteConvolution(spec, tile, machine, function).item)
    return made.with_attr(FEATURES, VNNI[machine.vector]) if machine.dots == "vnni" else made


class ByteConvolution(Convolution):
    """The sums are whole numbers."""

    sums = "int32"

    def pixel(self, index: tuple[Expr, ...]) -> Expr:
        """Four channels of a pixel as a word."""
        at = address(self.function.tensors[0], (*index[:3], index[3] * WORD))
        word = tirx.reinterpret("int32", self.function.buffers[0][T.ramp(at, 1, WORD)])
        return T.broadcast(word, self.machine.vector)

    def added(self, total: Expr, pixels: Expr, weights: Expr) -> Expr:
        if self.machine.dots == "vnni":
            name = f"llvm.x86.avx512.vpdpbusd.{32 * self.machine.vector}"
            sides = (tirx.reinterpret(f"int8x{WORD * self.machine.vector}", side) for side in (pixels, weights))
            return T.call_llvm_pure_intrin(scalar.typed(total, "int32"), name, total, *sides)
        for number in range(WORD):
            left = (pixels >> scalar.like_int(number * _BITS, pixels)) & scalar.like_int(255, pixels)
            upper = weights << scalar.like_int((WORD - 1 - number) * _BITS, weights)
            total = total + left * (upper >> scalar.like_int((WORD - 1) * _BITS, upper))
        return total

    def total(self, value: Expr) -> Expr:
        return scalar.cast(value, "float32")
