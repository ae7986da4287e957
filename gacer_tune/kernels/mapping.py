"""Elementwise kernels: a program at every element of strided operands. Copies and transposes are the empty program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, ceildiv, computed, dense
from gacer_tune.kernels.views import merged, part_of

SQUARES = 4  # of a copy that transposes them, one below the other


@dataclass(frozen=True, slots=True)
class Map:
    """out = program(operands); every operand has the shape of out. Make one with `mapping`, which merges axes."""

    out: Tensor
    program: Program

    @property
    def flops(self) -> int:
        return self.out.size * len(self.program.steps)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for every rule
        """Operands in the order of the function's parameters; the last one is written."""
        return *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class MapTile:
    """An item is `rows` of the outer axes by `block` elements of the last axis (a multiple of the vector)."""

    rows: int
    block: int


def mapping(out: Tensor, program: Program) -> Map:
    """Return the kernel with its axes in memory order of `out` and neighbours merged where every operand allows.

    (2, 3, 4) all dense -> (24,)
    """
    axes = sorted(range(len(out.shape)), key=lambda axis: -out.strides[axis])
    views = merged([part_of(tensor, axes) for tensor in (*program.operands, out)])
    if not views[-1].shape:
        views = [dense((1,), view.dtype) for view in views]
    return Map(views[-1], replace(program, operands=tuple(views[:-1])))


def copy(source: Tensor, out: Tensor) -> Map:
    return mapping(out, Program((Step("identity", (Arg("operand", 0),), computed(out.dtype)),), (source,)))


def fill(out: Tensor, value: float) -> Map:
    dtype = computed(out.dtype)
    return mapping(out, Program((Step("identity", (Arg("const", value=value, dtype=dtype),), dtype),)))


def items(spec: Map, tile: MapTile, machine: Machine) -> int:  # noqa: ARG001 - the same for every rule
    rows, last = spec.out.size // spec.out.shape[-1], spec.out.shape[-1]
    return ceildiv(rows, tile.rows) * ceildiv(last, tile.block)


def candidates(spec: Map, machine: Machine) -> list[MapTile]:
    """About 16 and about 64 items, none under 1024 elements."""
    return list(dict.fromkeys(_blocked(spec, machine, wanted) for wanted in (16, 64)))


def turns(spec: Map, machine: Machine) -> bool:
    """Whether this is a copy of float32 whose operand has vectors along the rows of the output: both sides are read and
    written in whole vectors then, and squares of them are transposed."""
    if (
        len(spec.out.shape) < 2
        or len(spec.program.operands) != 1
        or [step.fn for step in spec.program.steps] != ["identity"]
    ):
        return False
    source, out, size = spec.program.operands[0], spec.out, machine.vector
    plain = source.dtype == out.dtype == "float32" and out.strides[-1] == 1
    across = source.strides[-2] == 1 and source.strides[-1] > 1
    even = len(out.shape) == 2 or out.shape[-2] % size == 0  # no square has rows of two images
    return plain and across and even and min(out.shape[-2:]) >= size


def _blocked(spec: Map, machine: Machine, wanted: int) -> MapTile:
    last = spec.out.shape[-1]
    size = max(1024, ceildiv(spec.out.size, wanted))
    if turns(spec, machine):
        rows = SQUARES * machine.vector
        columns = min(ceildiv(last, machine.vector), max(1, size // rows // machine.vector))
        return MapTile(rows, columns * machine.vector)
    block = min(ceildiv(last, machine.vector), ceildiv(size, machine.vector)) * machine.vector
    return MapTile(min(spec.out.size // last, max(1, size // min(block, last))), block)
