"""Rules that recognise activation functions spelt out in small operators.

    0.5 * x * (1 + Erf(x / sqrt(2)))                                  -> gacer.Gelu
    0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))        -> gacer.Gelu approximate="tanh"
    x * Sigmoid(x)                                                    -> gacer.Silu
    x * HardSigmoid(x, 1/6, 1/2),  x * Clip(x + 3, 0, 6) / 6          -> gacer.HardSwish

All have the form x * P(f(Q(x))) with polynomials P and Q. So the order of factors and summands does not matter, nor
whether they are written with Div or Mul, Pow or repeated Mul: only the coefficients of P and Q are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import GACER_DOMAIN, attribute, has_input
from gacer_tune.frontend.polynomial import Polynomial, expand, same, scaled

_HALVES: Polynomial = {0: 0.5, 1: 0.5}
_ONCE: Polynomial = {1: 1.0}
_ERF_ARGUMENT: Polynomial = {1: math.sqrt(0.5)}
_TANH_ARGUMENT: Polynomial = {1: math.sqrt(2 / math.pi), 3: math.sqrt(2 / math.pi) * 0.044715}
_HARD_SIGMOID: Polynomial = {0: 0.5, 1: 1 / 6}
_FUNCTIONS = ("Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Neg")
_HALF_PRECISION = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def name_activation(_uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Operators of ai.onnx that are the same as one of ours: Gelu, HardSwish, Swish with alpha 1."""
    if node.domain or node.op_type not in ("Gelu", "HardSwish", "Swish"):
        return None
    if node.op_type == "Swish" and attribute(node, "alpha", 1.0) != 1.0:
        return None
    op_type = "Silu" if node.op_type == "Swish" else node.op_type
    attributes = {"approximate": attribute(node, "approximate", "none")} if op_type == "Gelu" else {}
    made = helper.make_node(op_type, node.input, node.output, node.name, domain=GACER_DOMAIN, **attributes)
    return Replacement([made])


def recognise_activation(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """The product x * P(f(Q(x))), whose last operator is `node`, as one operator."""
    if node.domain or node.op_type not in ("Mul", "Div"):
        return None
    product = _factors(uses, node)
    if product is None or len(product.names) != 2:
        return None
    for x, other in (product.names, product.names[::-1]):
        known = uses.types.get(x)
        if known is None or uses.types.get(node.output[0]) != known:
            continue
        found = _recognise(uses, x, other, product.scale)
        if found is not None:
            attributes = {"approximate": found[1]} if found[1] else {}
            made = helper.make_node(found[0], [x], node.output, node.name, domain=GACER_DOMAIN, **attributes)
            return Replacement([made])
    return None


@dataclass(frozen=True, slots=True)
class Product:
    """`scale` times the values `names`."""

    scale: float
    names: tuple[str, ...]


def _factors(uses: Uses, node: onnx.NodeProto) -> Product | None:
    """The factors of a product; None if it divides by something other than a constant."""
    scale = 1.0
    names: list[str] = []
    waiting = [node]
    while waiting and len(names) <= 2:
        current = waiting.pop()
        divisor = uses.scalar(current.input[1]) if current.op_type == "Div" else 1.0
        if not divisor:
            return None
        scale /= divisor
        for name in current.input if current.op_type == "Mul" else current.input[:1]:
            constant, inner = uses.scalar(name), uses.inner(name, "Mul", "Div")
            if constant is not None:
                scale *= constant
            elif inner is not None:
                waiting.append(inner)
            else:
                names.append(name)
    return Product(scale, tuple(names))


def _recognise(uses: Uses, x: str, other: str, scale: float) -> tuple[str, str | None] | None:
    """Operator and its `approximate` of scale * x * other, if it is one."""
    function = next(_functions_below(uses, other), None)
    if function is None:
        return None
    outer = expand(uses, other, function.output[0])
    inner = expand(uses, function.input[0], x)
    if outer is None or inner is None:
        return None
    outer = scaled(outer, scale)
    tolerance = 2e-3 if uses.types[x].element in _HALF_PRECISION else 1e-4
    table: tuple[tuple[str, Polynomial, Polynomial, str, str | None], ...] = (
        ("Erf", _HALVES, _ERF_ARGUMENT, "Gelu", "none"),
        ("Tanh", _HALVES, _TANH_ARGUMENT, "Gelu", "tanh"),
        ("Sigmoid", _ONCE, _ONCE, "Silu", None),
    )
    for op_type, wanted_outer, wanted_inner, name, approximate in table:
        if (
            function.op_type == op_type
            and same(outer, wanted_outer, tolerance)
            and same(inner, wanted_inner, tolerance)
        ):
            return name, approximate
    ramp = _ramp(uses, function, inner, outer)
    return ("HardSwish", None) if ramp is not None and same(ramp, _HARD_SIGMOID, tolerance) else None


def _ramp(uses: Uses, function: onnx.NodeProto, inner: Polynomial, outer: Polynomial) -> Polynomial | None:
    """R such that P(f(Q(x))) = clip(R(x), 0, 1), if f is a HardSigmoid or Clip and it is so."""
    factor = outer.get(1, 0.0)
    if set(outer) != {1} or factor <= 0:
        return None
    if function.op_type == "HardSigmoid" and math.isclose(factor, 1.0, rel_tol=1e-6):
        shifted = scaled(inner, attribute(function, "alpha", 0.2))
        return {**shifted, 0: shifted.get(0, 0.0) + attribute(function, "beta", 0.5)}
    if function.op_type != "Clip":
        return None
    bounds = [_bound(uses, function, 1, "min"), _bound(uses, function, 2, "max")]
    if bounds[0] != 0.0 or bounds[1] is None or not math.isclose(bounds[1] * factor, 1.0, rel_tol=1e-3):
        return None
    return scaled(inner, factor)


def _bound(uses: Uses, clip: onnx.NodeProto, index: int, name: str) -> float | None:
    """A limit of Clip: an input since operator set 11, an attribute before."""
    if has_input(clip, index):
        return uses.scalar(clip.input[index])
    value: float | None = attribute(clip, name, None)
    return value


def _functions_below(uses: Uses, name: str) -> Iterator[onnx.NodeProto]:
    """The functions reached from a value through arithmetic that nobody else reads."""
    waiting = [name]
    for _ in range(8):  # no spelling is longer
        if not waiting:
            return
        current = waiting.pop()
        function = uses.inner(current, *_FUNCTIONS)
        if function is not None:
            yield function
            continue
        arithmetic = uses.inner(current, *_ARITHMETIC)
        if arithmetic is not None:
            waiting.extend(arithmetic.input)
