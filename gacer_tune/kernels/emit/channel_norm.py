"""Emits `ChannelNorm` kernels; see gacer_tune.kernels.channel_norm for what a variant is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.channel_norm import ChannelNorm, ChannelNormTile, units
from gacer_tune.kernels.emit.blocks import Parts, block_of, nest, run, spread, sweep, tiles
from gacer_tune.kernels.emit.fold import SUM, Fold, fold_lanes
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.emit.scalar import lanes, like
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import Tensor, ceildiv
from gacer_tune.kernels.views import joined, merged, part_of

Expr = Any
Index = tuple[Expr, ...]


def emit(spec: ChannelNorm, tile: ChannelNormTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, scale and bias if there are any, operands of the program, output."""
    tensors = list(spec.tensors(machine))
    first = len(tensors) - 1 - len(spec.program.operands)
    images = pixels_merged([tensors[0], *tensors[first:]])
    function = Function(name, [images[0], *tensors[1:first], *images[1:]], machine)
    return function.build(_Emitter(spec, tile, machine, function).item)


def pixels_merged(tensors: list[Tensor]) -> list[Tensor]:
    """Views (n, pixels..., c) with as few axes of pixels as possible, at least one."""
    last = len(tensors[0].shape) - 1
    pixels = merged([part_of(tensor, range(1, last)) for tensor in tensors])
    if not pixels[0].shape:
        pixels = [Tensor((1,), (0,), tensor.dtype) for tensor in tensors]
    ends = [(part_of(tensor, [0]), part_of(tensor, [last])) for tensor in tensors]
    return [joined(joined(image, middle), channel) for (image, channel), middle in zip(ends, pixels, strict=True)]


class _Emitter:
    def __init__(self, spec: ChannelNorm, tile: ChannelNormTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.vector, self.function = spec, tile, machine.vector, function
        self.pixels = function.tensors[-1].shape[1:-1]
        self.count = spec.source.size // spec.source.shape[0] // spec.groups
        self.units = units(spec, tile, machine)

    def item(self, item: Expr) -> None:
        blocks, some = ceildiv(self.units, self.tile.units), self.tile.units
        image, block = item // blocks, item % blocks
        if self.spec.channels == 1:
            size, place = self.tile.vectors * self.vector, (block, some)
            tiles(self.spec.groups, size, self.vector, place, lambda c, parts: self.single(image, c, parts))
            return
        with block_of(self.units, some, block) as unit:
            self.group(image, unit * self.spec.channels)

    def single(self, image: Expr, channel: Expr, parts: Parts) -> None:
        """Normalise a tile of channels, each on its own."""

        def load(pixel: Index, offset: int, width: int) -> Expr:
            return T.bind(self.function.load(0, (image, *pixel, channel + offset), width))

        def square(pixel: Index, offset: int, width: int) -> Expr:
            value = T.bind(load(pixel, offset, width) - means[run(offset, width)])
            return value * value

        means = fold_lanes(SUM, parts, self.pixels, load, "float32")
        for where in (run(*place) for place in parts):
            T.buffer_store(means, self.mean(means[where]), [where])
        scales = fold_lanes(SUM, parts, self.pixels, square, "float32")
        for where in (run(*place) for place in parts):
            T.buffer_store(scales, self.one_over_root(scales[where]), [where])

        def write(pixel: Index) -> None:
            for offset, width in parts:
                where, index = run(offset, width), (image, *pixel, channel + offset)
                self.write(index, (load(pixel, offset, width) - means[where]) * scales[where], width)

        nest(self.pixels, write)

    def group(self, image: Expr, channel: Expr) -> None:
        """Normalise the group that starts at a channel."""

        def load(pixel: Index, c: Expr, width: int) -> Expr:
            return T.bind(self.function.load(0, (image, *pixel, channel + c), width))

        def total(term: Callable[[Expr], Expr]) -> Expr:
            folding = Fold(SUM, self.spec.channels, self.vector)
            nest(self.pixels, lambda pixel: folding.take(lambda c, width: term(load(pixel, c, width))))
            return T.bind(folding.result())

        def centred(value: Expr) -> Expr:
            return T.bind(value - spread(mean, lanes(value)))

        def square(value: Expr) -> Expr:
            value = centred(value)
            return value * value

        mean = self.mean(total(lambda value: value))
        scale = self.one_over_root(total(square))

        def write(pixel: Index) -> None:
            def vector(c: Expr, width: int) -> None:
                value = centred(load(pixel, c, width)) * spread(scale, width)
                self.write((image, *pixel, channel + c), value, width)

            sweep(self.spec.channels, self.vector, vector)

        nest(self.pixels, write)

    def mean(self, total: Expr) -> Expr:
        return T.bind(total / like(self.count, total))

    def one_over_root(self, total: Expr) -> Expr:
        variance = total / like(self.count, total) + like(self.spec.epsilon, total)
        return T.bind(like(1.0, total) / tirx.sqrt(variance))

    def write(self, index: Index, value: Expr, width: int) -> None:
        """Apply scale, bias and program to a normalised value, and store it."""
        operand = 1
        if self.spec.scale is not None:
            value = value * self.function.load(operand, index[-1:], width)
            operand += 1
        if self.spec.bias is not None:
            value = value + self.function.load(operand, index[-1:], width)
            operand += 1
        self.function.store(-1, index, self.function.finish(self.spec.program, operand, index, T.bind(value), width))
