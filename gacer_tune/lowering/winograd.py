"""Lowers 3x3 and 5x5 convolutions of stride 1 by Winograd's filtering where that is likely to be faster."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gacer_tune.kernels import pack
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.winograd import WAYS, Filtering, tiles, transformed, window_points
from gacer_tune.kernels.winograd_conv import WinogradConv, pays
from gacer_tune.kernels.winograd_input import WinogradInput
from gacer_tune.kernels.winograd_output import WinogradOutput
from gacer_tune.lowering.context import Epilogue, Lowering, program
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


def lower(low: Lowering, name: str, views: Sequence[View], weight: Array, spec: Conv2d, epilogue: Epilogue) -> bool:
    """Emit the convolution as transform, products, transform if that is the better way; views as `heavy.conv` has them.

    All of it is one kernel where that pays. Return False, with nothing emitted, if the direct way is better. Tensor
    cores make products too cheap for it on a GPU.
    """
    if not isinstance(low.machine, Machine) or (way := choose(spec, low.machine.vector)) is None:
        return False
    source, out = views[0], views[1]
    points, finishing = window_points(weight, way), program(epilogue, views[2:])
    whole = WinogradConv(source.tensor, out.tensor, way, spec.pad, finishing)
    if pays(whole, low.machine):
        packed = low.weight(f"{name}.weight", pack.winograd_weight(points, way.points, low.machine))
        low.emit(name, f"winograd{way.m}", [low.kernel(whole, [source, packed, *views[2:]], out)])
        return True
    inputs, outputs = spec.group_channels
    before, after = (transformed(out.tensor, way, channels) for channels in (inputs, outputs))
    u, v = (low.fresh(f"{name}.{part}", t.shape, t.dtype) for part, t in (("points", before), ("products", after)))
    count = prod(before.shape[:3])
    product = Conv2d(dense((1, 1, count, before.shape[3])), dense((1, 1, count, after.shape[3])), groups=way.points)
    packed = low.weight(f"{name}.weight", pack.conv_weight(points, way.points, low.machine))
    finish = WinogradOutput(after, out.tensor, way, finishing)
    low.emit(
        name,
        f"winograd{way.m}",
        [
            low.kernel(WinogradInput(source.tensor, before, way, spec.pad), [source], u),
            low.kernel(product, [u, packed], v),
            low.kernel(finish, [v, *views[2:]], out),
        ],
    )
    return True
