"""Quantized operators of ONNX Runtime's own: their inputs are dequantized, their result is quantized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto, helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.contrib_node import Given
from gacer_tune.frontend.nodes import attribute

_FLOAT = TensorProto.FLOAT
_AXIS_SINCE = 13  # opset from which DequantizeLinear knows one scale for each index of an axis


def _value(given: Given, number: int, **axis: int) -> str:
    """What an input stands for; its scale and its zero point, which may be left out, are the two inputs after it."""
    parts = [given.node.input[number + part] for part in range(3) if given.has(number + part)]
    return given.emit.op("DequantizeLinear", *parts, **axis)


def _quantized(given: Given, value: str, number: int) -> Sequence[str]:
    """The value with the scale, and the zero point if there is one, from input `number` on."""
    parts = [given.node.input[number + part] for part in range(2) if given.has(number + part)]
    return [given.emit.op("QuantizeLinear", value, *parts)]


def quantize(given: Given) -> Sequence[str]:
    """QuantizeLinear(x, scale, zero)"""
    return [given.emit.op("QuantizeLinear", *filter(None, given.node.input), **_attributes(given))]


def dequantize(given: Given) -> Sequence[str]:
    """DequantizeLinear(q, scale, zero)"""
    return [given.emit.op("DequantizeLinear", *filter(None, given.node.input), **_attributes(given))]


def add(given: Given) -> Sequence[str]:
    """QLinearAdd(a, its scale and zero, b, its, scale and zero of the sum)"""
    return _quantized(given, given.emit.op("Add", _value(given, 0), _value(given, 3)), 6)


def mul(given: Given) -> Sequence[str]:
    """QLinearMul(a, its scale and zero, b, its, scale and zero of the product)"""
    return _quantized(given, given.emit.op("Mul", _value(given, 0), _value(given, 3)), 6)


def concat(given: Given) -> Sequence[str]:
    """QLinearConcat(scale and zero of the result, then of each part itself, its scale and its zero)"""
    count = len(given.node.input)
    if count % 3 != 2 or not all(given.has(number) for number in range(count)):
        raise UserError(f"{given.where}: {count} inputs, allowed are 2 and 3 for each part")
    parts = [_value(given, number) for number in range(2, count, 3)]
    return _quantized(given, given.emit.op("Concat", *parts, **_attributes(given)), 0)


def unary(given: Given) -> Sequence[str]:
    """QLinearSigmoid, -LeakyRelu, -AveragePool and -GlobalAveragePool(x, its scale and zero, those of the result)"""
    if attribute(given.node, "channels_last", 0):
        raise UserError(f"{given.where}: channels_last is not supported")
    attributes = {name: value for name, value in _attributes(given).items() if name != "channels_last"}
    op_type = given.node.op_type.removeprefix("QLinear")
    return _quantized(given, given.emit.op(op_type, _value(given, 0), **attributes), 3)


def gemm(given: Given) -> Sequence[str]:
    """QGemm(a, its scale and zero, b, its, c of int32 in units of both scales, scale and zero of the result or none)"""
    alpha, columns = attribute(given.node, "alpha", 1.0), 0 if attribute(given.node, "transB", 0) else 1
    vector = given.ranks.get(given.node.input[4], 0) > 0 and given.emit.uses.opset >= _AXIS_SINCE
    sides = [_value(given, 0), _value(given, 3, **({"axis": columns} if vector else {}))]
    product = given.emit.op("Gemm", *sides, **_attributes(given))
    if given.has(6):
        units = given.emit.op("Mul", given.node.input[1], given.node.input[4])
        units = units if alpha == 1.0 else given.emit.op("Mul", units, given.number(alpha))
        bias = given.emit.op("Cast", given.node.input[6], to=_FLOAT)
        product = given.emit.op("Add", product, given.emit.op("Mul", bias, units))
    return _quantized(given, product, 7) if given.has(7) else [product]


def dynamic_matmul(given: Given) -> Sequence[str]:
    """DynamicQuantizeMatMul(a, b, scale of b, zero of b, bias): a is quantized by its smallest and largest value"""
    names = [given.emit.uses.fresh(f"{given.emit.base}/{part}") for part in ("bytes", "scale", "zero")]
    given.emit.nodes.append(
        helper.make_node(
            "DynamicQuantizeLinear", given.node.input[:1], names, given.emit.uses.fresh(f"{names[0]}/node")
        )
    )
    zero = [given.node.input[3]] if given.has(3) else []
    units = given.emit.op("Mul", names[1], given.node.input[2])
    return [given.plus_input(_scaled(given, (names[0], given.node.input[1], names[2], *zero), units), 4)]


def integer_matmul(given: Given) -> Sequence[str]:
    """MatMulIntegerToFloat(a, b, scale of a, scale of b, zero of a, zero of b, bias)"""
    zeros = [given.node.input[number] if given.has(number) else "" for number in (4, 5)]
    units = given.emit.op("Mul", *given.node.input[2:4])
    return [given.plus_input(_scaled(given, (*given.node.input[:2], *zeros), units), 6)]


def _scaled(given: Given, operands: Sequence[str], units: str) -> str:
    product = given.emit.op("MatMulInteger", *operands)
    return given.emit.op("Mul", given.emit.op("Cast", product, to=_FLOAT), units)


def _attributes(given: Given) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in given.node.attribute}
