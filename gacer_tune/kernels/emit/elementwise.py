"""The elementwise functions by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import tirx

from gacer_tune.kernels.emit import scalar

Expr = Any

FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "identity": lambda x: x,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": scalar.div,
    "max": partial(scalar.extreme, tirx.max),
    "min": partial(scalar.extreme, tirx.min),
    "at_least": tirx.max,  # the limit first: where it is NaN there is none, and NaN stays
    "at_most": tirx.min,
    "pow": scalar.pow_,
    "mod": scalar.mod,
    "power": scalar.power,
    "neg": lambda x: -x,
    "abs": scalar.abs_,
    "sqrt": tirx.sqrt,
    "reciprocal": lambda x: scalar.like(1.0, x) / x,
    "exp": scalar.exp,
    "log": scalar.log,
    "sin": scalar.sin,
    "cos": scalar.cos,
    "floor": tirx.floor,
    "ceil": tirx.ceil,
    "round": tirx.nearbyint,
    "sign": scalar.sign,
    "relu": scalar.relu,
    "leaky_relu": scalar.leaky_relu,
    "prelu": lambda x, slope: tirx.Select(x < scalar.like(0.0, x), x * slope, x),
    "elu": scalar.elu,
    "sigmoid": scalar.sigmoid,
    "hard_sigmoid": scalar.hard_sigmoid,
    "hard_swish": lambda x: x * scalar.hard_sigmoid(x, 1 / 6, 0.5),
    "silu": scalar.silu,
    "tanh": scalar.tanh,
    "erf": scalar.erf,
    "gelu": scalar.gelu,
    "mish": scalar.mish,
    "gelu_tanh": scalar.gelu_tanh,
    "softplus": scalar.softplus,
    "softsign": lambda x: x / (scalar.like(1.0, x) + tirx.max(x, -x)),
    "equal": scalar.equal,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "and": tirx.And,
    "or": tirx.Or,
    "not": tirx.Not,
    "where": tirx.Select,
    "cast": lambda x: x,
}


def apply(fn: str, args: Sequence[Expr], dtype: str, params: Sequence[float] = ()) -> Expr:
    """fn(args, params) as an element (or vector of elements) of dtype. Raises KeyError for an unknown fn."""
    return scalar.cast(FUNCTIONS[fn](*args, *params), dtype)
