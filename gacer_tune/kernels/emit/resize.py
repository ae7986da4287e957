"""Emits `Resize` kernels; see gacer_tune.kernels.resize for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.emit.blocks import spread
from gacer_tune.kernels.emit.function import Function, loop
from gacer_tune.kernels.emit.planes import Strip, each_strip
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.resize import Position, Resize, position

Expr = Any


def emit(spec: Resize, tile: PlaneTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands: source, operands of the program, output."""
    function = Function(name, spec.tensors(machine), machine)
    rows, columns = position(spec, 1), position(spec, 2)

    def nearest(strip: Strip, column: Expr) -> None:
        y, x = (nearest_index(place.rounded(spec.rounding), i) for place, i in ((rows, strip.row), (columns, column)))
        for offset, width in strip.parts:
            store(strip, column, offset, function.load(0, (strip.image, y, x, strip.channel + offset), width))

    def linear(strip: Strip, column: Expr) -> None:
        (top, bottom, down), (left, right, across) = neighbours(rows, strip.row), neighbours(columns, column)
        for offset, width in strip.parts:

            def load(y: Expr, x: Expr, channel: Expr = strip.channel + offset, width: int = width) -> Expr:
                return T.bind(function.load(0, (strip.image, y, x, channel), width))

            upper, lower = (between(load(y, left), load(y, right), across) for y in (top, bottom))
            store(strip, column, offset, between(upper, lower, down))

    def cubic(strip: Strip, column: Expr) -> None:
        down, across = taps(spec, rows, strip.row), taps(spec, columns, column)
        for offset, width in strip.parts:
            channel = strip.channel + offset
            lines = [[function.load(0, (strip.image, y, x, channel), width) for x, _ in across] for y, _ in down]
            store(strip, column, offset, weighted(down, [weighted(across, line) for line in lines]))

    def store(strip: Strip, column: Expr, offset: int, value: Expr) -> None:
        index = (strip.image, strip.row, column, strip.channel + offset)
        function.store(-1, index, function.finish(spec.program, 1, index, T.bind(value), scalar.lanes(value)))

    def strip_of(strip: Strip) -> None:
        with loop(spec.out.shape[2]) as column:
            {"nearest": nearest, "linear": linear, "cubic": cubic}[spec.mode](strip, column)

    return function.build(lambda item: each_strip(spec.out, tile, machine.vector, item, strip_of))


def nearest_index(place: Position, index: Expr) -> Expr:
    return T.bind(tirx.max(tirx.min(place.numerator(index) // place.divisor, place.extent - 1), 0))


def neighbours(place: Position, index: Expr) -> tuple[Expr, Expr, Expr]:
    """The source index at or below a position, the next one, and how far the position is from the one to the other."""
    at = T.bind(tirx.max(tirx.min(place.numerator(index), (place.extent - 1) * place.divisor), 0))
    low = T.bind(at // place.divisor)
    share = scalar.cast(at - low * place.divisor, "float32") * tirx.const(1 / place.divisor, "float32")
    return low, T.bind(tirx.min(low + 1, place.extent - 1)), T.bind(share)


def between(low: Expr, high: Expr, share: Expr) -> Expr:
    return T.bind(low + (high - low) * spread(share, scalar.lanes(low)))


def taps(spec: Resize, place: Position, index: Expr) -> list[tuple[Expr, Expr]]:
    """The four source indices around a position and their weights, by Keys' cubic convolution (1981)."""
    low = T.bind(place.numerator(index) // place.divisor)
    past = scalar.cast(place.numerator(index) - low * place.divisor, "float32")
    share = T.bind(past * tirx.const(1 / place.divisor, "float32"))
    a, zero, one = spec.sharpness, scalar.like(0.0, share), scalar.like(1.0, share)
    far, near = (-4 * a, 8 * a, -5 * a, a), (1.0, 0.0, -(a + 3), a + 2)
    distances = (far, share + one), (near, share), (near, one - share), (far, one - share + one)
    weights = [T.bind(scalar.horner(coefficients, distance)) for coefficients, distance in distances]
    places = [low + offset for offset in (-1, 0, 1, 2)]
    if spec.inside:
        within = [tirx.And(at >= 0, at < place.extent) for at in places]
        weights = [tirx.Select(held, weight, zero) for held, weight in zip(within, weights, strict=True)]
        total = T.bind(weights[0] + weights[1] + weights[2] + weights[3])
        weights = [T.bind(weight / total) for weight in weights]
    kept = [T.bind(tirx.max(tirx.min(at, place.extent - 1), 0)) for at in places]
    return list(zip(kept, weights, strict=True))


def weighted(found: Sequence[tuple[Expr, Expr]], values: Sequence[Expr]) -> Expr:
    """The sum of values times the weights of the taps."""
    terms = [value * spread(weight, scalar.lanes(value)) for (_, weight), value in zip(found, values, strict=True)]
    return T.bind(terms[0] + terms[1] + terms[2] + terms[3])
