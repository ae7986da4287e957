"""bfloat16, stored as uint16: the upper halves of float32."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit import scalar
from gacer_tune.kernels.machine import Machine

Expr = Any


def widened(value: Expr) -> Expr:
    """As float32."""
    bits = scalar.cast(value, "uint32")
    return scalar.reinterpret(bits << scalar.like(16, bits), "float32")


def rounded(value: Expr, machine: Machine | None) -> Expr:
    """Of float32: to the nearest, to even where two are; what is no number stays so."""
    if machine is not None and machine.tiles == "amx" and scalar.lanes(value) == machine.vector:
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        found = T.call_llvm_pure_intrin(scalar.typed(value, "uint16"), name, value)
        # What comes out is of a type of its own, which cannot be shuffled with integers: two casts make it one of them.
        return tirx.reinterpret(scalar.typed(value, "uint16"), tirx.reinterpret("uint32x8", found))
    value = T.bind(value)
    bits = T.bind(scalar.reinterpret(value, "uint32"))
    half, one, quiet, most = (scalar.like(number, bits) for number in (16, 1, 0x400000, 0x7FFF))
    kept = tirx.Select(tirx.isnan(value), bits | quiet, bits + most + ((bits >> half) & one))
    return scalar.cast(kept >> half, "uint16")
