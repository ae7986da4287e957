"""Nearest, linear and cubic interpolation of the rows and columns of (n, h, w, c) images (ONNX Resize).

Where an output row or column lies in the source is an exact fraction of its number, so it needs neither a table nor
floating point, and a half is a half in every rounding mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from gacer_tune.kernels.blocks import FEW, MANY
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.planes import PlaneTile, blocked, plane_items
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor

Mode = Literal["nearest", "linear", "cubic"]
FLOPS = {"nearest": 1, "linear": 8, "cubic": 40}  # of an output
Coordinates = Literal["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
Rounding = Literal["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]


@dataclass(frozen=True, slots=True)
class Resize:
    """source (n, h, w, c), out (n, oh, ow, c); rounding counts for nearest only, the last two for cubic only.

    scales: (rows, columns) as the model gives them, where that differs from the ratio of the extents. sharpness: the
    coefficient a of Keys' cubic convolution. inside: what lies outside has no weight, else the edge is repeated.
    """

    source: Tensor
    out: Tensor
    mode: Mode
    coordinates: Coordinates = "half_pixel"
    rounding: Rounding = "round_prefer_floor"
    scales: tuple[float, float] | None = None
    program: Program = NOTHING
    sharpness: float = -0.75
    inside: bool = False

    @property
    def flops(self) -> int:
        return self.out.size * FLOPS[self.mode]

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, *self.program.operands, self.out


@dataclass(frozen=True, slots=True)
class Position:
    """Output index i lies at (factor * i + offset) / divisor of the source axis, whose extent bounds it."""

    factor: int
    offset: int
    divisor: int
    extent: int

    def numerator(self, index: Any) -> Any:
        return index * self.factor + self.offset

    def rounded(self, rounding: Rounding) -> Position:
        """The position whose floor is this one rounded."""
        twice = Position(2 * self.factor, 2 * self.offset, 2 * self.divisor, self.extent)
        added = {"floor": 0, "ceil": twice.divisor - 2, "round_prefer_floor": self.divisor - 1}
        return Position(twice.factor, twice.offset + added.get(rounding, self.divisor), twice.divisor, self.extent)


def position(spec: Resize, axis: int) -> Position:
    """Where the output rows (axis 1) or columns (axis 2) lie in the source."""
    extent, out = spec.source.shape[axis], spec.out.shape[axis]
    scale = Fraction(out, extent)
    if spec.scales is not None:
        scale = Fraction(spec.scales[axis - 1]).limit_denominator(4096)
    p, q = scale.numerator, scale.denominator
    if spec.coordinates == "asymmetric":
        return Position(q, 0, p, extent)
    if out == 1 and spec.coordinates != "half_pixel":
        return Position(0, 0, 1, extent)
    if spec.coordinates == "align_corners":
        return Position(extent - 1, 0, out - 1, extent)
    return Position(2 * q, q - p, 2 * p, extent)


def items(spec: Resize, tile: PlaneTile, machine: Machine) -> int:
    return plane_items(spec.out, tile, machine.vector)


def candidates(spec: Resize, machine: Machine) -> list[PlaneTile]:
    """Variants worth measuring, most promising first."""
    channels = spec.out.shape[3]
    vectors = [v for v in (4, 2) if channels >= v * machine.vector] or [1]
    found = [blocked(spec.out, (v, 1), machine.vector, wanted, "hwo") for v in vectors for wanted in (FEW, MANY)]
    return list(dict.fromkeys(found))
