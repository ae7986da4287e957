"""Emits `BatchMatmul` kernels for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tvm import tirx

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.cuda.bmm import product_of
from gacer_tune.kernels.cuda.emit.function import Expr, Function
from gacer_tune.kernels.cuda.emit.panel import neighbours, unraveled
from gacer_tune.kernels.cuda.emit.product import ProductEmitter, Sides
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import ProductTile, depth
from gacer_tune.kernels.emit.function import address
from gacer_tune.kernels.views import merged_outer


def emit(spec: BatchMatmul, tile: ProductTile, gpu: Gpu, name: str) -> tirx.PrimFunc:
    """Operands: left, right, operands of the program, output."""
    function = Function(name, merged_outer(spec.tensors(gpu), 2), tile.threads)
    emitter = ProductEmitter(function, product_of(spec), tile, gpu)
    batch = function.tensors[-1].shape[:-2]

    def sides(number: Expr) -> Sides:
        at = unraveled(number, batch)
        left = Matrix(function, 0, at, (-2, -1), (tile.rows, gpu))
        right = Matrix(function, 1, at, (-1, -2), (tile.columns, gpu))
        return Sides(left, right, right.along)

    def index(number: Expr, row: Expr, column: Expr) -> tuple[Expr, ...]:
        return (*unraveled(number, batch), row, column)

    return function.build(lambda block: emitter.block(block, sides, index, spec.program))


class Matrix:
    """Elements (other, k) of one matrix of a batch; `axes` are those of the tensor for both.

    The right operand is taken along its columns or along the reduction, as its elements lie.
    """

    aligned = False

    def __init__(
        self, function: Function, operand: int, batch: Sequence[Expr], axes: tuple[int, int], block: tuple[int, Gpu]
    ) -> None:
        tensor, (size, gpu) = function.tensors[operand], block
        self.operand = operand
        self.extents = tensor.shape[axes[0]], tensor.shape[axes[1]]
        self.strides = tensor.strides[axes[0]], tensor.strides[axes[1]]
        self.first = address(tensor, (*batch, 0, 0))
        self.left = self.extents[0] % size != 0, self.extents[1] % depth(gpu) != 0
        same = tensor.dtype == gpu.dtype
        along_other, along_k = (same and neighbours(tensor, axis, gpu.vector) for axis in axes)
        columns = operand == 1 and (along_other or (not along_k and self.strides[0] <= self.strides[1]))
        self.along: Literal["k", "n"] = "n" if columns else "k"
        self.whole = along_other if columns else along_k

    def line(self, other: Expr) -> list[Expr]:
        return [self.first + other * self.strides[0], other if self.left[0] else 0]

    def step(self, k: Expr) -> list[Expr]:
        return [k]

    def at(self, line: list[Expr], step: list[Expr]) -> tuple[Expr, list[Expr]]:
        conditions = [line[1] < self.extents[0]] if self.left[0] else []
        if self.left[1]:
            conditions.append(step[0] < self.extents[1])
        return line[0] + step[0] * self.strides[1], conditions
