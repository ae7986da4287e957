"""Emits `WinogradOutput` kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.function import Function, when
from gacer_tune.kernels.emit.winograd import Place, over_tiles, transform
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.winograd import TransformTile
from gacer_tune.kernels.winograd_output import WinogradOutput

Expr = Any


def emit(spec: WinogradOutput, tile: TransformTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(machine))
    m, size, width, out = spec.way.m, spec.way.extent, machine.vector, 1 + len(spec.program.operands)
    height, breadth = spec.out.shape[1:3]

    def body(place: Place) -> None:
        image, row, column, channel = place

        def product(y: int, x: int) -> Expr:
            return function.load(0, (image, row, column, (y * size + x) * spec.channels + channel), width)

        values = [[T.bind(product(y, x)) for x in range(size)] for y in range(size)]
        results = [[T.bind(value) for value in line] for line in transform(spec.way.output, values)]

        def put(y: int, x: int) -> None:
            index = (image, row * m + y, column * m + x, channel)
            function.store(out, index, function.finish(spec.program, 1, index, results[y][x], width))

        for y in range(m):
            for x in range(m):
                checks = []
                if height % m > 0 and y >= height % m:
                    checks.append(row * m + y < height)
                if breadth % m > 0 and x >= breadth % m:
                    checks.append(column * m + x < breadth)
                if checks:
                    when(tirx.all(*checks), partial(put, y, x))
                else:
                    put(y, x)

    return function.build(over_tiles((spec.source.shape[1], spec.source.shape[2], spec.channels), tile, machine, body))
