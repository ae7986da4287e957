"""Emits `Conv2d` kernels for a GPU: products whose left operand is read where the window falls on the image."""

from __future__ import annotations

from math import prod

from tvm import tirx

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.conv2d import product_of
from gacer_tune.kernels.cuda.emit.function import Expr, Function
from gacer_tune.kernels.cuda.emit.panel import neighbours, unraveled
from gacer_tune.kernels.cuda.emit.product import ProductEmitter, Sides
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import ProductTile, depth
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.views import merged_outer

OUTSIDE = -(1 << 20)  # a row that no image has


def emit(spec: Conv2d, tile: ProductTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: source, packed weights, operands of the program, output."""
    tensors = spec.tensors(gpu)
    stored = merged_outer(tensors[2:], 1)
    function = Function(name, [*tensors[:2], *stored], tile.threads)
    emitter = ProductEmitter(function, product_of(spec), tile, gpu)
    outputs, outer = spec.group_channels[1], stored[-1].shape[:-1]

    def sides(group: Expr) -> Sides:
        return Sides(Pixels(spec, tile, gpu, group), Weights(spec, tile, gpu, group), "n")

    def index(group: Expr, pixel: Expr, channel: Expr) -> tuple[Expr, ...]:
        first = group * outputs if spec.groups > 1 else 0
        return (*unraveled(pixel, outer), first + channel)

    return function.build(lambda block: emitter.block(block, sides, index, spec.program))


class Pixels:
    """Element (pixel, k) is what tap and channel k of the window over an output pixel see, 0 outside the image."""

    operand = 0
    aligned = False

    def __init__(self, spec: Conv2d, tile: ProductTile, gpu: Gpu, group: Expr) -> None:
        self.spec, self.product = spec, product_of(spec)
        inputs = spec.group_channels[0]
        self.first = group * (inputs * spec.source.strides[3]) if spec.groups > 1 else 0
        self.whole = (
            spec.source.dtype == gpu.dtype and inputs % gpu.vector == 0 and neighbours(spec.source, 3, gpu.vector)
        )
        self.rows_left = self.product.m % tile.rows != 0
        self.steps_left = self.product.k % depth(gpu) != 0

    def line(self, other: Expr) -> list[Expr]:
        spec = self.spec
        image, y, x = unraveled(other, spec.out.shape[:3])
        top, left = y * spec.stride[0] - spec.pad[0], x * spec.stride[1] - spec.pad[1]
        strides = spec.source.strides
        base = image * strides[0] + top * strides[1] + left * strides[2] + self.first
        if self.rows_left:
            top = tirx.Select(other < self.product.m, top, tirx.const(OUTSIDE, "int32"))
        return [base, top, left]

    def step(self, k: Expr) -> list[Expr]:
        spec, inputs = self.spec, self.spec.group_channels[0]
        strides = spec.source.strides
        if prod(spec.window) == 1:
            return [k * strides[3], 0, 0, k]
        tap, channel = tirx.truncdiv(k, inputs), tirx.truncmod(k, inputs)
        down = tirx.truncdiv(tap, spec.window[1]) * spec.dilation[0]
        across = tirx.truncmod(tap, spec.window[1]) * spec.dilation[1]
        return [down * strides[1] + across * strides[2] + channel * strides[3], down, across, k]

    def at(self, line: list[Expr], step: list[Expr]) -> tuple[Expr, list[Expr]]:
        spec = self.spec
        (base, top, left), (moved, down, across, k) = line, step
        conditions = []
        if spec.clipped_rows or self.rows_left:
            conditions += _between(top + down, spec.source.shape[1])
        if spec.clipped_columns:
            conditions += _between(left + across, spec.source.shape[2])
        if self.steps_left:
            conditions.append(k < self.product.k)
        return base + moved, conditions


class Weights:
    """Packed weights of a group: 32 columns of all k lie together."""

    operand = 1
    whole = aligned = True

    def __init__(self, spec: Conv2d, tile: ProductTile, gpu: Gpu, group: Expr) -> None:
        self.k, self.pack = product_of(spec).k, gpu.pack
        outputs = spec.group_channels[1]
        self.blocks = ceildiv(outputs, gpu.pack)
        self.group = group if spec.groups > 1 else 0
        self.columns_left = self.blocks * gpu.pack % tile.columns != 0
        self.steps_left = self.k % depth(gpu) != 0

    def line(self, other: Expr) -> list[Expr]:
        block = self.group * self.blocks + tirx.truncdiv(other, self.pack)
        return [block * (self.k * self.pack) + tirx.truncmod(other, self.pack), other if self.columns_left else 0]

    def step(self, k: Expr) -> list[Expr]:
        return [k]

    def at(self, line: list[Expr], step: list[Expr]) -> tuple[Expr, list[Expr]]:
        conditions = [line[1] < self.blocks * self.pack] if self.columns_left else []
        if self.steps_left:
            conditions.append(step[0] < self.k)
        return line[0] + step[0] * self.pack, conditions


def _between(value: Expr, end: int) -> list[Expr]:
    return [tirx.const(0, "int32") <= value, value < end]
