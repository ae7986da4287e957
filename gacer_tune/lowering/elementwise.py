"""Which ONNX operators are elementwise, and the steps each becomes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.kernels.program import Arg, Step
from gacer_tune.lowering.graph import Graph, Node

Params = Callable[[Graph, Node], tuple[float, ...]]


def _numbers(**defaults: float) -> Params:
    return lambda _, node: tuple(float(node.attributes.get(name, value)) for name, value in defaults.items())


def _none(_graph: Graph, _node: Node) -> tuple[float, ...]:
    return ()


_SAME = (
    "Add Sub Mul Div Neg Abs Sqrt Reciprocal Exp Log Sin Cos Floor Ceil Round Sign Relu Sigmoid Tanh Erf Softplus "
    "Softsign Mish Equal Less Greater And Or Not Where Cast Identity Mod Max Min"
)
# operator: (function, parameters)
UNIFORM: dict[str, tuple[str, Params]] = {
    **{op: (op.lower(), _none) for op in _SAME.split()},
    "LessOrEqual": ("less_equal", _none),
    "GreaterOrEqual": ("greater_equal", _none),
    "PRelu": ("prelu", _none),
    "LeakyRelu": ("leaky_relu", _numbers(alpha=0.01)),
    "Elu": ("elu", _numbers(alpha=1.0)),
    "Selu": ("elu", _numbers(alpha=1.67326319, gamma=1.05070102)),
    "HardSigmoid": ("hard_sigmoid", _numbers(alpha=0.2, beta=0.5)),
    "gacer.Silu": ("silu", _none),
    "gacer.HardSwish": ("hard_swish", _none),
}
DEQUANTIZE = "gacer.Dequantize"  # (value - zero) * scale, both attributes
VARIADIC = frozenset({"Max", "Min"})
ELEMENTWISE = frozenset({*UNIFORM, "gacer.Gelu", "Pow", "Clip", DEQUANTIZE})


def steps(graph: Graph, node: Node, args: list[Arg], done: int) -> list[Step]:
    """Steps that compute the node's output from args; `done` steps stand before them."""
    dtype = graph.dtypes[node.outputs[0]]
    if node.op == "gacer.Gelu":
        exact = node.attributes.get("approximate", "none") == "none"
        return [Step("gelu" if exact else "gelu_tanh", (args[0],), dtype)]
    if node.op == DEQUANTIZE:
        return _dequantized(node, args[0], dtype, done)
    if node.op == "Pow":
        return [_power(graph, node, args, dtype)]
    if node.op == "Clip":
        return _clip(node, args, dtype, done)
    if node.op == "Mod" and node.attributes.get("fmod", 0):
        raise UserError(f"{node.name}: Mod with fmod=1 is not supported")
    fn, params = UNIFORM[node.op]
    if node.op in VARIADIC:
        return _chain(fn, args, dtype, done)
    return [Step(fn, tuple(args), dtype, tuple(float(p) for p in params(graph, node)))]


def _dequantized(node: Node, value: Arg, dtype: str, done: int) -> list[Step]:
    found = list[Step]()
    for fn, name, nothing in (("sub", "zero", 0.0), ("mul", "scale", 1.0)):
        number = node.attributes[name]
        if number != nothing:
            found.append(Step(fn, (value, Arg("const", value=number)), dtype))
            value = Arg("step", done + len(found) - 1)
    return found or [Step("identity", (value,), dtype)]


def _power(graph: Graph, node: Node, args: list[Arg], dtype: str) -> Step:
    exponent = scalar(graph, node.inputs[1])
    if exponent is None or not dtype.startswith("float"):
        return Step("pow", tuple(args), dtype)
    return Step("power", (args[0],), dtype, (exponent.value,))


def _clip(node: Node, args: list[Arg], dtype: str, done: int) -> list[Step]:
    """The larger of the value and the lower limit, then the smaller of that and the upper one, where they are given.

    Limits are inputs; before operator set 11 they are attributes. One that is NaN is none.
    """
    limits, found = iter(args[1:]), list[Step]()
    for index, (fn, name) in enumerate((("at_least", "min"), ("at_most", "max")), start=1):
        limit = next(limits) if node.given(index) else _written(node.attributes.get(name, math.inf), dtype)
        if limit is not None:
            value = Arg("step", done + len(found) - 1) if found else args[0]
            found.append(Step(fn, (limit, value), dtype))
    return found or [Step("identity", (args[0],), dtype)]


def _written(value: float, dtype: str) -> Arg | None:
    """A finite number as a constant."""
    return Arg("const", value=value, dtype=dtype) if math.isfinite(value) else None


def _chain(fn: str, args: list[Arg], dtype: str, done: int) -> list[Step]:
    if len(args) == 1:
        return [Step("identity", (args[0],), dtype)]
    found = [Step(fn, (args[0], args[1]), dtype)]
    for arg in args[2:]:
        found.append(Step(fn, (Arg("step", done + len(found) - 1), arg), dtype))
    return found


def scalar(graph: Graph, name: str) -> Arg | None:
    """A constant of one element as an argument; None for all other values, which are operands.

    So are infinities, what is not a number and large integers: they cannot be written down with the kernel.
    """
    constant = graph.constants.get(name)
    if constant is None or constant.size != 1 or not np.isfinite(constant).all():
        return None
    value = constant.reshape(-1)[0]
    if int(float(value)) != int(value):  # a float has no room for it
        return None
    return Arg("const", value=float(value), dtype=str(constant.dtype))


def operands_of(node: Node) -> tuple[str, ...]:
    """Names of the inputs, those left out that are optional."""
    return tuple(name for name in node.inputs if name)
