"""What the nodes of convolutions and pooling say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import Tensor, ceildiv
from gacer_tune.kernels.window import Pair
from gacer_tune.lowering.graph import Array, Graph, Node

Number = TypeVar("Number", int, float)


def window(graph: Graph, node: Node, spatial: Sequence[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """kernel, strides, dilations and pads (begins, then ends) of a convolution or pooling over one or two axes."""
    rank = len(spatial)
    kernel = list(node.attributes.get("kernel_shape") or graph.shapes[node.inputs[1]][2:])
    strides = list(node.attributes.get("strides") or [1] * rank)
    dilations = list(node.attributes.get("dilations") or [1] * rank)
    pads = list(node.attributes.get("pads") or [0] * 2 * rank)
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        for axis, extent in enumerate(spatial):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((ceildiv(extent, strides[axis]) - 1) * strides[axis] + reach - extent, 0)
            small, large = total // 2, total - total // 2
            begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
            pads[axis], pads[axis + rank] = begin, end
    return kernel, strides, dilations, pads


def pair(values: Sequence[Number], filling: Number) -> tuple[Number, Number]:
    return (filling, values[0]) if len(values) == 1 else (values[0], values[1])


@dataclass(frozen=True)
class ConvNode:
    """What a Conv node says. weight as (o, c / groups, rows, columns); pads: begins, then ends, of `rank` - 2 axes."""

    rank: int
    weight: Array
    window: Pair
    stride: Pair
    pads: tuple[int, ...]
    dilation: Pair
    groups: int
    depthwise: bool

    @property
    def begins(self) -> Pair:
        return pair(self.pads[: len(self.pads) // 2], 0)

    @property
    def point(self) -> bool:
        """Every pixel times one matrix."""
        return self.window == self.stride == (1, 1) and not any(self.pads) and self.groups == 1

    def conv_spec(self, source: Tensor, out: Tensor, program: Program) -> Conv2d:
        sizes = self.window, self.stride, self.begins, self.dilation
        return Conv2d(source, out, *sizes, self.groups, program)

    def depthwise_spec(self, source: Tensor, out: Tensor, program: Program) -> Depthwise:
        return Depthwise(source, out, self.window, self.stride, self.begins, self.dilation, program)


def read_conv(graph: Graph, node: Node) -> ConvNode:
    """Raises UserError for what is not supported."""
    shape = graph.shapes[node.inputs[0]]
    if len(shape) not in (3, 4):
        raise UserError(f"{node.name}: Conv over {len(shape) - 2} axes, at most 2")
    weight = graph.constant(node, 1).astype(np.float32, copy=False)
    weight = weight if weight.ndim == 4 else weight[:, :, None, :]
    kernel, strides, dilations, pads = window(graph, node, shape[2:])
    groups = int(node.attributes.get("group", 1))
    depthwise = groups > 1 and groups == shape[1] == weight.shape[0]
    settings = pair(kernel, 1), pair(strides, 1), tuple(pads), pair(dilations, 1)
    return ConvNode(len(shape), weight, *settings, groups, depthwise)
