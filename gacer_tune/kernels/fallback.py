"""Operators that no rule knows: what TVM makes of a small ONNX model, one nest of loops a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.blocks import FEW, MANY
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import Tensor, ceildiv

SMALLEST = 1024  # operations that are worth a work item


@dataclass(frozen=True, slots=True)
class Stage:
    """Stage `number` of the functions TVM imports `model` as; all operands are dense.

    model: a serialized ONNX model (one node and what guards its indices) as base64. loops: extents of the outer loops
    whose turns are independent of each other; where there are none the kernel is a single item.
    """

    model: str
    number: int
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    loops: tuple[int, ...] = ()
    flops: int = 0

    @property
    def out(self) -> Tensor:
        return self.writes[-1]

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; those of `writes` are written."""
        return *self.reads, *self.writes


@dataclass(frozen=True, slots=True)
class StageTile:
    """The first `axes` loops are one; `rows` of its turns are an item."""

    axes: int
    rows: int


def items(spec: Stage, tile: StageTile, machine: Machine) -> int:  # noqa: ARG001 - the same for all machines
    return ceildiv(prod(spec.loops[: tile.axes]), tile.rows)


def candidates(spec: Stage, machine: Machine) -> list[StageTile]:  # noqa: ARG001
    """About 16 and about 48 items; no more loops than that needs, so that the inner ones stay as they are."""
    found = []
    for most in (FEW, MANY):
        wanted = max(1, min(most, spec.flops // SMALLEST))
        axes = next((n for n in range(len(spec.loops)) if prod(spec.loops[:n]) >= wanted), len(spec.loops))
        found.append(StageTile(axes, ceildiv(prod(spec.loops[:axes]), wanted)))
    return list(dict.fromkeys(found))
