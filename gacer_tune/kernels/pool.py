"""Largest or mean value under a sliding window, on (n, h, w, c) images of any strides.

A work item is a block of output rows and channels. Vectors run along the channels where these are neighbours in
memory, else along the row. Window positions outside the image never count for max.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gacer_tune.kernels.blocks import FEW, MANY
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.planes import PlaneTile, blocked, plane_items
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.kernels.window import Pair, Window


@dataclass(frozen=True, slots=True)
class Pool:
    """source (n, h, w, c), out (n, oh, ow, c), float32; pad as (top, left, bottom, right), other pairs (rows, columns).

    count_include_pad: the mean divides by all window positions in the padded image instead of those in the image.
    """

    source: Tensor
    out: Tensor
    kind: Literal["max", "avg"]
    size: Pair
    stride: Pair = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    count_include_pad: bool = False
    program: Program = NOTHING

    @property
    def window(self) -> Window:
        image, out = self.source.shape[1:3], self.out.shape[1:3]
        return Window(self.size, self.stride, self.pad[:2], self.dilation, (image[0], image[1]), (out[0], out[1]))

    @property
    def padded(self) -> Window:
        """The same window over the padded image; what it covers beyond that comes from rounding the output up."""
        image = self.source.shape[1:3]
        padded = (image[0] + self.pad[0] + self.pad[2], image[1] + self.pad[1] + self.pad[3])
        return Window(self.size, self.stride, (0, 0), self.dilation, padded, self.window.out)

    @property
    def along(self) -> Literal["channels", "columns"]:
        """The axis of vectors."""
        return "channels" if self.source.strides[3] == 1 or self.out.shape[2] == 1 else "columns"

    @property
    def flops(self) -> int:
        return self.out.size * self.size[0] * self.size[1]

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:  # noqa: ARG002 - the same for all machines
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, *self.program.operands, self.out


def vector(spec: Pool, machine: Machine) -> int:
    """Channels of a vector."""
    return machine.vector if spec.along == "channels" else 1


def items(spec: Pool, tile: PlaneTile, machine: Machine) -> int:
    return plane_items(spec.out, tile, vector(spec, machine))


def candidates(spec: Pool, machine: Machine) -> list[PlaneTile]:
    """Variants worth measuring, most promising first."""
    width, channels = spec.out.shape[2:]
    pairs = [(2, min(2, width)), (1, min(4, width))] if channels > machine.vector else [(1, min(4, width))]
    if spec.along == "columns":
        pairs = [(1, machine.vector)]
    found = [blocked(spec.out, pair, vector(spec, machine), FEW, order) for pair in pairs for order in ("hwo", "ohw")]
    found.append(blocked(spec.out, pairs[0], vector(spec, machine), MANY, "hwo"))
    return list(dict.fromkeys(found))
