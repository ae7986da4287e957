"""Elementwise functions on a GPU: those of the CPU, with the CUDA library's functions instead of polynomials.

Largest errors by the CUDA C++ Programming Guide: log 1 ulp, the others 2 ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import elementwise
from gacer_tune.kernels.emit.scalar import cast, element, like, mish

Expr = Any


def library(name: str) -> Callable[[Expr], Expr]:
    """A function of one number: `name` for float64, `name`f for float32."""

    def apply(x: Expr) -> Expr:
        dtype = element(x)
        return T.call_pure_extern(dtype, name if dtype == "float64" else f"{name}f", x)

    return apply


exp, erf, tanh, log = (library(name) for name in ("exp", "erf", "tanh", "log"))


def sigmoid(x: Expr) -> Expr:
    return like(1.0, x) / (like(1.0, x) + exp(-x))


def gelu(x: Expr) -> Expr:
    return x * like(0.5, x) * (like(1.0, x) + erf(x * like(math.sqrt(0.5), x)))


def gelu_tanh(x: Expr) -> Expr:
    inner = like(math.sqrt(2 / math.pi), x) * (x + like(0.044715, x) * x * x * x)
    return x * like(0.5, x) * (like(1.0, x) + tanh(inner))


def elu(x: Expr, alpha: float, gamma: float = 1.0) -> Expr:
    return like(gamma, x) * tirx.Select(x < like(0.0, x), like(alpha, x) * (exp(x) - like(1.0, x)), x)


def softplus(x: Expr) -> Expr:
    return tirx.max(x, like(0.0, x)) + log(like(1.0, x) + exp(-tirx.max(x, -x)))


FUNCTIONS: dict[str, Callable[..., Expr]] = {
    **elementwise.FUNCTIONS,
    "exp": exp,
    "erf": erf,
    "tanh": tanh,
    "log": log,
    "sin": library("sin"),
    "cos": library("cos"),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "elu": elu,
    "softplus": softplus,
    "mish": lambda x: mish(x, exp),
}


def apply(fn: str, args: Sequence[Expr], dtype: str, params: Sequence[float] = ()) -> Expr:
    """fn(args, params) as an element of dtype. Raises KeyError for an unknown fn."""
    return cast(FUNCTIONS[fn](*args, *params), dtype)
