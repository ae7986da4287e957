"""Elementwise functions on a GPU: those of the CPU, with the CUDA library's functions instead of polynomials.

Largest errors by the CUDA C++ Programming Guide: log 1 ulp, the others 2 ulp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import elementwise, scalar
from gacer_tune.kernels.emit.scalar import Unary, cast, element, like

Expr = Any


def library(name: str) -> Unary:
    """A function of one number: `name` for float64, `name`f for float32."""

    def apply(x: Expr) -> Expr:
        dtype = element(x)
        return T.call_pure_extern(dtype, name if dtype == "float64" else f"{name}f", x)

    return apply


exp, erf, tanh, log = (library(name) for name in ("exp", "erf", "tanh", "log"))


def sigmoid(x: Expr) -> Expr:
    return like(1.0, x) / (like(1.0, x) + exp(-x))


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
    "gelu": partial(scalar.gelu, error=erf),
    "gelu_tanh": partial(scalar.gelu_tanh, tangent=tanh),
    "elu": partial(scalar.elu, exponential=exp),
    "softplus": partial(scalar.softplus, exponential=exp, logarithm=log),
    "mish": partial(scalar.mish, exponential=exp),
}


def apply(fn: str, args: Sequence[Expr], dtype: str, params: Sequence[float] = ()) -> Expr:
    """fn(args, params) as an element of dtype. Raises KeyError for an unknown fn."""
    return cast(FUNCTIONS[fn](*args, *params), dtype)
