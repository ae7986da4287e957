"""Lowers 3x3 and 5x5 convolutions of stride 1 by Winograd's filtering where that is likely to be faster."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gacer_tune.kernels import pack
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.winograd import WAYS, Filtering, tiles, transformed, window_points
from gacer_tune.kernels.winograd_conv import WinogradConv, pays
from gacer_tune.kernels.winograd_input import WinogradInput
from gacer_tune.kernels.winograd_output import WinogradOutput
from gacer_tune.lowering import narrow
from gacer_tune.lowering.context import Lowering
from gacer_tune.lowering.graph import Array
from gacer_tune.lowering.view import View

# Multiply-adds that cost as much as one byte of weights from memory, and as one element of a transform: a core does
# about 40 billion multiply-adds a second, reads about 20 GB of weights, which are fetched ahead, and is bound by its
# cache in the transforms.
BYTE = 2.0
TRANSFORM = 10.0


def choose(spec: Conv2d, vector: int) -> Filtering | None:
    """The filtering that costs least, None for the direct way."""
    inputs, outputs = spec.group_channels
    plain = (spec.stride, spec.dilation, spec.groups) == ((1, 1), (1, 1), 1)
    dense_channels = spec.source.strides[3] == spec.out.strides[3] == 1
    if not plain or not dense_channels or inputs % vector or outputs % vector:
        return None
    costs: dict[Filtering | None, float] = {
        None: inputs * outputs * prod(spec.window) * (prod(spec.out.shape[:3]) + 4 * BYTE)
    }
    for way in (way for way in WAYS if spec.window == (way.r, way.r)):
        count = spec.out.shape[0] * prod(tiles(spec.out, way.m))
        moved = count * (inputs + outputs) * TRANSFORM
        costs[way] = way.points * (inputs * outputs * (count + 4 * BYTE) + moved)
    return min(costs, key=lambda way: costs[way])


def chosen(machine: Target, spec: Conv2d, out: Tensor) -> WinogradConv | None:
    """The convolution by the best filtering, None if the direct way is better, as it is on a GPU, and by tiles: they
    make products too cheap.

    out: where the outputs go, or the largest of each 2 x 2 of them if it has half of their rows.
    """
    if not isinstance(machine, Machine) or narrow.chosen(machine, spec) is not None:
        return None
    if out.strides[3] != 1 or (way := choose(spec, machine.vector)) is None:
        return None
    pool = 1 if out.shape == spec.out.shape else 2
    return WinogradConv(spec.source, out, way, spec.pad, spec.program, pool)


def lower(low: Lowering, name: str, views: Sequence[View], weight: Array, whole: WinogradConv, direct: int) -> None:
    """Emit a convolution as one kernel where that pays, else as transform, products, transform.

    views are source, output and the operands of the program; direct: flops of the convolution by its definition.
    """
    source, out, *operands = views
    way, machine = whole.way, low.machine
    assert isinstance(machine, Machine)
    points = window_points(weight, way)
    if pays(whole, machine):
        packed = low.weight(f"{name}.weight", pack.winograd_weight(points, way.points, machine))
        low.emit(name, f"winograd{way.m}", [low.kernel(whole, [source, packed, *operands], out)], direct)
        return
    channels = whole.source.shape[3], whole.out.shape[3]
    before, after = (transformed(whole.out, way, count, whole.pool) for count in channels)
    u, v = (low.fresh(f"{name}.{part}", t.shape, t.dtype) for part, t in (("points", before), ("products", after)))
    count = prod(before.shape[:3])
    product = Conv2d(dense((1, 1, count, before.shape[3])), dense((1, 1, count, after.shape[3])), groups=way.points)
    packed = low.weight(f"{name}.weight", pack.conv_weight(points, way.points, machine))
    kernels = [
        low.kernel(WinogradInput(whole.source, before, way, whole.pad), [source], u),
        low.kernel(product, [u, packed], v),
        low.kernel(WinogradOutput(after, whole.out, way, whole.program, whole.pool), [v, *operands], out),
    ]
    low.emit(name, f"winograd{way.m}", kernels, direct)
