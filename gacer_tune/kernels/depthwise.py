"""Depthwise convolution (one filter a channel, one output a filter) on channels-last data.

A work item is a block of output rows and channels. Its tiles keep `columns` x `vectors` accumulators over the window,
in the order (window row, window column), so every variant gives the same bits. Padding is treated as in `conv2d`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.blocks import FEW, MANY
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.planes import Order, PlaneTile, blocked, plane_items
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.window import Pair, Window


@dataclass(frozen=True, slots=True)
class Depthwise:
    """source (n, h, w, c), out (n, oh, ow, c); size, stride and dilation as (rows, columns); pad as (top, left)."""

    source: Tensor
    out: Tensor
    size: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    program: Program = NOTHING

    @property
    def window(self) -> Window:
        image, out = self.source.shape[1:3], self.out.shape[1:3]
        return Window(self.size, self.stride, self.pad, self.dilation, (image[0], image[1]), (out[0], out[1]))

    @property
    def flops(self) -> int:
        return 2 * self.out.size * self.size[0] * self.size[1]

    def weight(self, machine: Target) -> Tensor:
        """Packed weights: (rows, columns, channels rounded up to whole vectors)."""
        channels = ceildiv(self.out.shape[3], machine.vector) * machine.vector
        return dense((*self.size, channels), machine.dtype)

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; the last one is written."""
        return self.source, self.weight(machine), *self.program.operands, self.out


def items(spec: Depthwise, tile: PlaneTile, machine: Machine) -> int:
    return plane_items(spec.out, tile, machine.vector)


def candidates(spec: Depthwise, machine: Machine) -> list[PlaneTile]:
    """Variants worth measuring, most promising first."""
    width, channels = spec.out.shape[2:]
    pairs = [(2, 4), (1, 8)] if channels > machine.vector else [(1, 4), (1, 8)]
    pairs = [(vectors, min(columns, width)) for vectors, columns in pairs]
    wishes: list[tuple[Pair, int, Order]] = []
    for pair in pairs:
        wishes += [(pair, FEW, "ohw"), (pair, FEW, "hwo")]
    wishes.append((pairs[0], MANY, "ohw"))
    found = [blocked(spec.out, pair, machine.vector, wanted, order) for pair, wanted, order in wishes]
    return list(dict.fromkeys(found))
