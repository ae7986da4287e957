"""Emits `WinogradInput` kernels."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import splat
from gacer_tune.kernels.emit.function import Function, loop, when
from gacer_tune.kernels.emit.winograd import Place, over_tiles, transform
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.winograd import TransformTile
from gacer_tune.kernels.winograd_input import WinogradInput

Expr = Any


def emit(spec: WinogradInput, tile: TransformTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, output."""
    function = Function(name, spec.tensors(machine))
    (m, size), width, (height, breadth) = (spec.way.m, spec.way.extent), machine.vector, spec.source.shape[1:3]

    def body(place: Place) -> None:
        image, row, column, channel = place
        top, left = row * m - spec.pad[0], column * m - spec.pad[1]
        patch = T.alloc_buffer((size * size * width,), "float32", scope="local")

        def at(y: Expr, x: Expr) -> Expr:
            return T.ramp((y * size + x) * width, 1, width)

        def read(y: Expr, x: Expr) -> None:
            T.buffer_store(patch, function.load(0, (image, top + y, left + x, channel), width), [at(y, x)])

        def whole() -> None:
            for y in range(size):
                for x in range(size):
                    read(y, x)

        def clipped() -> None:
            with loop(size) as y, loop(size) as x:
                inside = tirx.all(top + y >= 0, top + y < height, left + x >= 0, left + x < breadth)
                when(inside, lambda: read(y, x), lambda: T.buffer_store(patch, splat(0.0, width), [at(y, x)]))

        inside = tirx.all(top >= 0, top + size <= height, left >= 0, left + size <= breadth)
        when(inside, whole, clipped)
        values = [[T.bind(patch[at(y, x)]) for x in range(size)] for y in range(size)]
        for y, line in enumerate(transform(spec.way.image, values)):
            for x, value in enumerate(line):
                function.store(1, (image, row, column, (y * size + x) * spec.channels + channel), value)

    return function.build(over_tiles((spec.out.shape[1], spec.out.shape[2], spec.channels), tile, machine, body))
