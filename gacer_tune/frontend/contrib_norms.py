"""Normalisations of ONNX Runtime's own operators, spelt as `layernorm` and `rmsnorm` know them."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.contrib_node import Given
from gacer_tune.frontend.nodes import attribute, has_output

_SKIPPED_EPSILON, _EPSILON = 1e-12, 1e-5


def layer_norm(given: Given) -> Sequence[str]:
    """LayerNormalization(x, scale, bias) before operator set 17"""
    return [_normalised(given, given.node.input[0], (1, 2), _axes(given), _EPSILON)]


def simplified(given: Given) -> Sequence[str]:
    """SimplifiedLayerNormalization(x, scale): x / sqrt(mean(x * x) + epsilon) * scale"""
    return [_simplified(given, given.node.input[0], 1, _axes(given), _EPSILON)]


def skipped(given: Given) -> Sequence[str]:
    """SkipLayerNormalization(x, skip, scale, shift, bias), and the sum of x, skip and bias"""
    total = given.plus_input(given.emit.op("Add", *given.node.input[:2]), 4)
    return [_normalised(given, total, (2, 3), (-1,), _SKIPPED_EPSILON), "", "", total]


def skipped_simplified(given: Given) -> Sequence[str]:
    """SkipSimplifiedLayerNormalization(x, skip, scale, bias), and the sum of x, skip and bias"""
    total = given.plus_input(given.emit.op("Add", *given.node.input[:2]), 3)
    return [_simplified(given, total, 2, (-1,), _SKIPPED_EPSILON), "", "", total]


def embedded(given: Given) -> Sequence[str]:
    """EmbedLayerNormalization(ids, segments, words, positions, segment table, scale, shift, mask, position ids)"""
    ids, segments, words, positions, table = given.node.input[:5]
    emit = given.emit
    if given.has(1) != given.has(4):
        raise UserError(f"{given.where}: segments and their table must both be given, or none")
    rows = given.counted(given.extent(ids, 1)) if not given.has(8) else given.node.input[8]
    total = emit.op("Add", emit.op("Gather", words, ids), emit.op("Gather", positions, rows))
    if given.has(1):
        total = emit.op("Add", total, emit.op("Gather", table, segments))
    lengths = ""
    if has_output(given.node, 1):
        lengths, given.ranks[given.node.output[1]] = _lengths(given), 1
    return [_normalised(given, total, (5, 6), (-1,), _SKIPPED_EPSILON), lengths, total]


def _lengths(given: Given) -> str:
    """How many elements of each row of the mask are 1; "" without a mask."""
    if not given.has(7):
        return ""
    emit = given.emit
    mask = emit.op("Cast", given.node.input[7], to=TensorProto.INT32)
    return emit.reduce("ReduceSum", mask, (1,), keepdims=0)


def _axes(given: Given) -> tuple[int, ...]:
    """The axes that are normalised, counted from the last; there are as many as the scale has."""
    if attribute(given.node, "stash_type", 1) != 1:
        raise UserError(f"{given.where}: only stash_type 1 is supported")
    rank = given.ranks.get(given.node.input[1], 1)
    axis, whole = attribute(given.node, "axis", -1), given.ranks.get(given.node.input[0])
    if axis not in (-rank, None if whole is None else whole - rank) and (axis < 0 or whole is not None):
        raise UserError(f"{given.where}: axis {axis} and a scale of {rank} dimensions do not fit together")
    return tuple(range(-rank, 0))


def _normalised(given: Given, x: str, factors: tuple[int, int], axes: tuple[int, ...], epsilon: float) -> str:
    emit = given.emit
    deviation = emit.op("Sub", x, emit.reduce("ReduceMean", x, axes))
    variance = emit.reduce("ReduceMean", emit.op("Mul", deviation, deviation), axes)
    scaled = emit.op("Mul", emit.op("Div", deviation, _root(given, variance, epsilon)), given.node.input[factors[0]])
    return given.plus_input(scaled, factors[1])


def _simplified(given: Given, x: str, scale: int, axes: tuple[int, ...], epsilon: float) -> str:
    emit = given.emit
    squares = emit.reduce("ReduceMean", emit.op("Mul", x, x), axes)
    return emit.op("Mul", emit.op("Div", x, _root(given, squares, epsilon)), given.node.input[scale])


def _root(given: Given, name: str, epsilon: float) -> str:
    added = given.number(attribute(given.node, "epsilon", epsilon))
    return given.emit.op("Sqrt", given.emit.op("Add", name, added))
