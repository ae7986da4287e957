"""Activations and products of ONNX Runtime's own operators, spelt in operators of ai.onnx."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from onnx import helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.contrib_node import Given
from gacer_tune.frontend.nodes import attribute

_EINSUM_SINCE = 12
# Of each activation the attributes that its parameters are, in order.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}
_CLIP_BY_INPUT = 11


def gelu(given: Given) -> Sequence[str]:
    """Gelu(x) and BiasGelu(x, bias): x / 2 * (1 + erf(x / sqrt(2)))"""
    x = given.plus_input(given.node.input[0], 1)
    return _halved(given, x, given.emit.op("Erf", given.emit.op("Mul", x, given.number(math.sqrt(0.5)))))


def fast_gelu(given: Given) -> Sequence[str]:
    """FastGelu(x, bias): x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))"""
    op, x = given.emit.op, given.plus_input(given.node.input[0], 1)
    cube = op("Mul", op("Mul", op("Mul", x, x), x), given.number(0.044715))
    return _halved(given, x, op("Tanh", op("Mul", op("Add", x, cube), given.number(math.sqrt(2 / math.pi)))))


def _halved(given: Given, x: str, function: str) -> Sequence[str]:
    op = given.emit.op
    return [op("Mul", op("Mul", x, given.number(0.5)), op("Add", function, given.number(1.0)))]


def quick_gelu(given: Given) -> Sequence[str]:
    """QuickGelu(x): x * sigmoid(alpha * x)"""
    op, x = given.emit.op, given.node.input[0]
    return [op("Mul", x, op("Sigmoid", op("Mul", x, given.number(attribute(given.node, "alpha", 1.702)))))]


def matmul(given: Given) -> Sequence[str]:
    """FusedMatMul(a, b): alpha * (a transposed or not) @ (b transposed or not)"""
    alpha = attribute(given.node, "alpha", 1.0)
    sides = [_transposed(given, number, side) for number, side in enumerate("AB")]
    product = given.emit.op("MatMul", *sides)
    return [product if alpha == 1.0 else given.emit.op("Mul", product, given.number(alpha))]


def _transposed(given: Given, number: int, side: str) -> str:
    name = given.node.input[number]
    if attribute(given.node, f"transBatch{side}", 0):
        raise UserError(f"{given.where}: transBatch{side} is not supported, only trans{side}")
    if not attribute(given.node, f"trans{side}", 0):
        return name
    if given.emit.uses.opset < _EINSUM_SINCE:
        raise UserError(f"{given.where}: trans{side} needs operator set {_EINSUM_SINCE} or later")
    return given.emit.op("Einsum", name, equation="...ij->...ji")


def conv(given: Given) -> Sequence[str]:
    """FusedConv(x, weight, bias, z): activation(Conv(x, weight, bias) + z)"""
    values: list[float] = attribute(given.node, "activation_params", [])
    return [_activated(given, given.plus_input(_bare(given, "Conv"), 3), values)]


def gemm(given: Given) -> Sequence[str]:
    """FusedGemm(a, b, c): activation(Gemm(a, b, c))"""
    factors = {item.name: item.f for item in given.node.attribute}
    values = [factors[name] for name in ("activation_alpha", "activation_beta", "activation_gamma") if name in factors]
    return [_activated(given, _bare(given, "Gemm"), values)]


def _bare(given: Given, op_type: str) -> str:
    """The operator of ai.onnx that the node begins with: its first three inputs, and all but the activation."""
    inputs = [name for number, name in enumerate(given.node.input[:3]) if given.has(number)]
    kept = [item for item in given.node.attribute if not item.name.startswith("activation")]
    return given.emit.op(op_type, *inputs, **{item.name: helper.get_attribute_value(item) for item in kept})


def _activated(given: Given, name: str, values: Sequence[float]) -> str:
    """The activation that the node names, of a value."""
    activation = attribute(given.node, "activation", "")
    if not activation:
        return name
    if activation not in _PARAMETERS:
        raise UserError(f"{given.where}: activation {activation!r} is not supported, only {', '.join(_PARAMETERS)}")
    parameters = _PARAMETERS[activation]
    if len(values) not in (0, len(parameters)):
        raise UserError(f"{given.where}: {len(values)} parameters for {activation}, which has {len(parameters)}")
    named: dict[str, Any] = dict(zip(parameters, values, strict=False))
    if activation == "Clip" and given.emit.uses.opset >= _CLIP_BY_INPUT:
        return given.emit.op("Clip", name, *(given.number(value) for value in values))
    return given.emit.op(activation, name, **named)
