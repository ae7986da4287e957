"""Emits `WinogradOutput` kernels."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.emit.winograd import Place, over_tiles, put_tile
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.winograd import TransformTile
from gacer_tune.kernels.winograd_output import WinogradOutput

Expr = Any


def emit(spec: WinogradOutput, tile: TransformTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)

    def body(place: Place) -> None:
        def product(point: int) -> Expr:
            return function.load(0, (*place[:3], point * spec.channels + place[3]), machine.vector)

        put_tile(function, spec, place, product, 1)

    return function.build(over_tiles((spec.source.shape[1], spec.source.shape[2], spec.channels), tile, machine, body))
