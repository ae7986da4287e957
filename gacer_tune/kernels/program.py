"""Elementwise programs: the arithmetic of a `map` kernel, or what a heavy kernel does to a value before storing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gacer_tune.kernels.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Arg:
    """kind `acc`: the value handed in, of several number `index`; `step`: result of an earlier step; `operand`: an
    element of an operand.

    `value` and `dtype` are those of a `const`.
    """

    kind: Literal["acc", "step", "operand", "const"]
    index: int = 0
    value: float = 0.0
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Step:
    """fn of `gacer_tune.kernels.emit.scalar` applied to args, giving an element of dtype."""

    fn: str
    args: tuple[Arg, ...]
    dtype: str = "float32"
    params: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order; the last one is the result (with no step: the value handed in).

    operands have the rank of the kernel's output; an axis they lack has stride 0.
    """

    steps: tuple[Step, ...] = ()
    operands: tuple[Tensor, ...] = ()


NOTHING = Program()
