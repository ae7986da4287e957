"""Emits `Lrn` kernels; see gacer_tune.kernels.lrn for what they compute."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.blocks import RowsTile
from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import block_of, sweep, unravel
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.views import merged_outer

Expr = Any


def emit(spec: Lrn, tile: RowsTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, merged_outer(spec.tensors(machine), 1), machine)
    channels, before = spec.out.shape[-1], (spec.size - 1) // 2
    behind = spec.size - 1 - before

    def channel(pixel: tuple[Expr, ...], first: Expr, width: int, window: range) -> None:
        """Store `width` channels from `first` on; window: their neighbours, relative to each."""
        total: Expr = scalar.like(0.0, function.load(0, (*pixel, first), width))
        for step in window:
            value = T.bind(function.load(0, (*pixel, first + step), width))
            total = total + value * value
        scale = T.bind(total * scalar.like(spec.alpha / spec.size, total) + scalar.like(spec.bias, total))
        value = T.bind(function.load(0, (*pixel, first), width) / T.bind(scalar.power(scale, spec.beta)))
        function.store(-1, (*pixel, first), function.finish(spec.program, 1, (*pixel, first), value, width))

    def item(number: Expr) -> None:
        with block_of(spec.pixels, tile.rows, number) as at:
            pixel = unravel(at, function.tensors[-1].shape[:-1])
            whole = channels - spec.size + 1  # channels all of whose neighbours are there
            for c in [*range(min(before, channels)), *range(before + max(whole, 0), channels)]:
                channel(pixel, c, 1, range(-min(before, c), min(behind, channels - 1 - c) + 1))
            if whole > 0:
                around = range(-before, behind + 1)
                sweep(whole, machine.vector, lambda first, width: channel(pixel, before + first, width, around))

    return function.build(item)
