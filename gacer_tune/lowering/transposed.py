"""Lowers transposed convolutions: for stride s, s x s ordinary convolutions, each making every s-th row and column.

Output row y holds input row i times window row k where y + pad = i * s + k. Rows with (y + pad) % s = r see only the
window rows r, r + s, ...: an ordinary convolution of the input with these rows in reverse order. Sequences are images
of one row. A window that is smaller than the stride, or dilated, is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.kernels.window import Pair
from gacer_tune.lowering import narrow
from gacer_tune.lowering.context import CHANNELS_LAST, Epilogue, LoweredKernel, Lowering, program
from gacer_tune.lowering.conv_node import pair, window
from gacer_tune.lowering.convolution import along_channels, channels_behind, channels_last, image
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Array, Node
from gacer_tune.lowering.view import View


@dataclass(frozen=True, slots=True)
class Phase:
    """One axis of one of the convolutions: output positions start, start + s, ... (count of them).

    taps: window positions in the order they are applied; pad: positions in front of the input that the first one sees.
    """

    start: int
    count: int
    taps: tuple[int, ...]
    pad: int


def phases(size: int, stride: int, pad: int, out: int) -> list[Phase]:
    """size 3, stride 2, pad 1, out 8 -> taps (1,) from position 0 and taps (2, 0) from position 1."""
    found = []
    for start in range(min(stride, out)):
        first, remainder = divmod(start + pad, stride)
        taps = tuple(range(remainder, size, stride))[::-1]
        found.append(Phase(start, ceildiv(out - start, stride), taps, len(taps) - 1 - first))
    return found


def conv_transpose(low: Lowering, group: Group) -> None:
    graph, node = low.graph, low.graph.nodes[group.first]
    shape, made = graph.shapes[node.inputs[0]], graph.shapes[node.outputs[0]]
    rank = len(shape)
    if rank not in (3, 4):
        raise UserError(f"{node.name}: ConvTranspose over {rank - 2} axes, 1 or 2 are supported")
    kernel, strides, dilations, _ = window(graph, node, shape[2:])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begins = pair(_begins(node, shape[2:], made[2:], (reach, strides)), 0)
    stride = pair(strides, 1)
    weight = _spread(graph.constant(node, 1).astype(np.float32), stride, pair(dilations, 1))
    bias = low.weight(f"{node.name}.bias", graph.constant(node, 2)) if node.given(2) else None
    epilogue = low.epilogue(group, along_channels(bias, rank))
    source = channels_last(low, node.name, image(low.view(node.inputs[0])), False)
    out = image(low.output(graph.nodes[group.last].outputs[0], channels_behind(rank)))
    epilogue = replace(epilogue, operands=tuple(image(view) for view in epilogue.operands))
    rows, columns = (phases(weight.shape[2 + a], stride[a], begins[a], out.shape[2 + a]) for a in (0, 1))
    parts = source, out, epilogue
    convs = [_conv(low, node, parts, weight, (row, column), stride) for row in rows for column in columns]
    low.emit(node.name, "conv_transpose", convs)


def _spread(weight: Array, stride: Pair, dilation: Pair) -> Array:
    """(c, o, rows, columns) with the zeros that a dilation leaves between them, and at least `stride` of each.

    (c, o, columns) is one row.
    """
    weight = weight if weight.ndim == 4 else weight[:, :, None, :]
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    found = np.zeros((*weight.shape[:2], *map(max, sizes, stride)), np.float32)
    found[:, :, : sizes[0] : dilation[0], : sizes[1] : dilation[1]] = weight
    return found


def _begins(
    node: Node, spatial: tuple[int, ...], made: tuple[int, ...], sizes: tuple[list[int], list[int]]
) -> list[int]:
    """Pads before each axis; with auto_pad or output_shape they follow from the shape of the output."""
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID") and "output_shape" not in node.attributes:
        return list(node.attributes.get("pads") or [0] * 4)[: len(spatial)]
    extra = list(node.attributes.get("output_padding") or [0] * len(spatial))
    found = []
    for axis, (size, stride) in enumerate(zip(*sizes, strict=True)):
        total = max(stride * (spatial[axis] - 1) + extra[axis] + size - made[axis], 0)
        found.append(total // 2 if automatic == "SAME_UPPER" else total - total // 2)
    return found


def _conv(
    low: Lowering,
    node: Node,
    parts: tuple[View, View, Epilogue],
    weight: Array,
    phase: tuple[Phase, Phase],
    strides: Pair,
) -> LoweredKernel:
    """The convolution of one phase; weight (c, o / groups, rows, columns)."""
    source, out, epilogue = parts
    groups = int(node.attributes.get("group", 1))
    taken = weight[:, :, phase[0].taps][:, :, :, phase[1].taps]
    inputs, outputs = weight.shape[:2]
    turned = taken.reshape(groups, inputs // groups, outputs, *taken.shape[2:]).swapaxes(1, 2)
    views = [source.permute(CHANNELS_LAST)]
    for view in (out, *epilogue.operands):
        for axis, (one, stride) in enumerate(zip(phase, strides, strict=True), start=2):
            view = view.slice(axis, one.start, one.count, stride)  # noqa: PLW2901 - one axis after the other
        views.append(view.permute(CHANNELS_LAST))
    spec = Conv2d(
        views[0].tensor,
        views[1].tensor,
        (len(phase[0].taps), len(phase[1].taps)),
        pad=(phase[0].pad, phase[1].pad),
        groups=groups,
        program=program(epilogue, views[2:]),
    )
    weights = turned.reshape(groups * outputs, inputs // groups, *taken.shape[2:])
    found, packed = narrow.convolution(low, node.name, spec, weights)
    return low.kernel(found, [views[0], packed, *views[2:]], views[1])
