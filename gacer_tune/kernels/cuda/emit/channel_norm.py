"""Emits `ChannelNorm` kernels for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.cuda.channel_norm import ChannelNormTile
from gacer_tune.kernels.cuda.emit.fold import Accumulators, each_turn, fold_neighbours, fold_strided
from gacer_tune.kernels.cuda.emit.function import Function
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.emit.blocks import unravel
from gacer_tune.kernels.emit.channel_norm import pixels_merged
from gacer_tune.kernels.emit.fold import SUM
from gacer_tune.kernels.emit.function import loop, when
from gacer_tune.kernels.emit.scalar import like
from gacer_tune.kernels.tensor import ceildiv

Expr = Any
Index = tuple[Expr, ...]


def emit(spec: ChannelNorm, tile: ChannelNormTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, scale and bias if there are any, operands of the program, output."""
    tensors = list(spec.tensors(gpu))
    first = len(tensors) - 1 - len(spec.program.operands)
    images = pixels_merged([tensors[0], *tensors[first:]])
    function = Function(name, [images[0], *tensors[1:first], *images[1:]], tile.threads)
    return function.build(_Emitter(spec, tile, function).block)


class _Emitter:
    def __init__(self, spec: ChannelNorm, tile: ChannelNormTile, function: Function) -> None:
        self.spec, self.tile, self.function = spec, tile, function
        self.pixels = function.tensors[-1].shape[1:-1]
        self.count = prod(self.pixels) * spec.channels
        self.image: Expr = None
        self.channel: Expr = None
        self.there: Expr = None

    def block(self, block: Expr) -> None:
        blocks, lanes = ceildiv(self.spec.groups, self.tile.lanes), self.tile.lanes
        self.image = block // blocks
        group = block % blocks * lanes + self.function.thread % lanes
        if self.spec.groups % lanes:
            self.there = group < self.spec.groups
            group = tirx.min(group, self.spec.groups - 1)  # all threads take part in folds
        self.channel = T.bind(group * self.spec.channels)
        mean = T.bind(self.fold(lambda value: value) / tirx.const(self.count, "float32"))

        def squared(value: Expr) -> Expr:
            value = T.bind(value - mean)
            return value * value

        variance = self.fold(squared) / tirx.const(self.count, "float32")
        scale = T.bind(tirx.const(1.0, "float32") / tirx.sqrt(variance + like(self.spec.epsilon, variance)))
        if self.there is None:
            self.normalise(mean, scale)
        else:
            when(self.there, lambda: self.normalise(mean, scale))

    def index(self, turn: Expr) -> Index:
        *pixel, channel = unravel(turn, (*self.pixels, self.spec.channels))
        return (self.image, *pixel, self.channel + channel)

    def fold(self, term: Callable[[Expr], Expr]) -> Expr:
        """The sum of the terms of all values of the group."""
        total, lanes = Accumulators(SUM), self.tile.lanes

        def add(sums: Accumulators, turn: Expr) -> None:
            sums.add(0, term(T.bind(self.function.load(0, self.index(turn)))))

        each_turn(total, self.count, (self.function.thread // lanes, self.tile.split), add)
        if lanes == 1:
            return fold_neighbours(self.function, SUM, total.results()[0], self.tile.split)
        return fold_strided(self.function, SUM, total.results(), lanes)[0]

    def normalise(self, mean: Expr, scale: Expr) -> None:
        def one(turn: Expr) -> None:
            index = self.index(turn)
            self.write(index, T.bind((self.function.load(0, index) - mean) * scale))

        with loop(ceildiv(self.count, self.tile.split)) as step:
            turn = step * self.tile.split + self.function.thread // self.tile.lanes
            if self.count % self.tile.split == 0:
                one(turn)
            else:
                when(turn < self.count, lambda: one(turn))

    def write(self, index: Index, value: Expr) -> None:
        """Apply scale, bias and program to a normalised value, and store it."""
        operand = 1
        if self.spec.scale is not None:
            value = value * self.function.load(operand, index[-1:])
            operand += 1
        if self.spec.bias is not None:
            value = value + self.function.load(operand, index[-1:])
            operand += 1
        self.function.store(-1, index, self.function.finish(self.spec.program, operand, index, T.bind(value)))
