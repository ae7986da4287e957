"""Elementwise kernels: a program at every element of strided operands. Copies and transposes are the empty program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, ceildiv, computed


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
    tensors = [*program.operands, out]
    axes = [a for a in range(len(out.shape)) if out.shape[a] != 1]
    axes.sort(key=lambda a: -out.strides[a])
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in tensors]
    for axis in axes:
        extent = out.shape[axis]
        steps = [t.strides[axis] for t in tensors]
        if shape and all(row[-1] == step * extent for row, step in zip(strides, steps, strict=True)):
            shape[-1] *= extent
            for row, step in zip(strides, steps, strict=True):
                row[-1] = step
            continue
        shape.append(extent)
        for row, step in zip(strides, steps, strict=True):
            row.append(step)
    if not shape:
        shape, strides = [1], [[1] for _ in tensors]
    merged = [Tensor(tuple(shape), tuple(row), t.dtype) for row, t in zip(strides, tensors, strict=True)]
    return Map(merged[-1], replace(program, operands=tuple(merged[:-1])))


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
    found = []
    for wanted in (16, 64):
        size = max(1024, ceildiv(spec.out.size, wanted))
        last = spec.out.shape[-1]
        block = min(ceildiv(last, machine.vector), ceildiv(size, machine.vector)) * machine.vector
        rows = spec.out.size // last
        tile = MapTile(min(rows, max(1, size // min(block, last))), block)
        if tile not in found:
            found.append(tile)
    return found
