"""Emits `WinogradInput` kernels."""

from __future__ import annotations

from tvm import tirx

from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.emit.winograd import Place, image_tile, over_tiles
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.winograd import TransformTile
from gacer_tune.kernels.winograd_input import WinogradInput


def emit(spec: WinogradInput, tile: TransformTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, output."""
    function = Function(name, spec.tensors(machine), machine)

    def body(place: Place) -> None:
        for point, value in enumerate(image_tile(function, spec, place, machine.vector)):
            function.store(1, (*place[:3], point * spec.channels + place[3]), value)

    return function.build(over_tiles((spec.out.shape[1], spec.out.shape[2], spec.channels), tile, machine, body))
