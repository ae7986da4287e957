"""What convolutions and pooling share: what their nodes say, and images as kernels see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.kernels.window import Pair
from gacer_tune.lowering.context import CHANNELS_LAST, Lowering
from gacer_tune.lowering.graph import Array, Graph, Node
from gacer_tune.lowering.view import View

FEW_CHANNELS = 4  # so few input channels are read where they are, whatever their strides


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
            total = max((-(-extent // strides[axis]) - 1) * strides[axis] + reach - extent, 0)
            small, large = total // 2, total - total // 2
            begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
            pads[axis], pads[axis + rank] = begin, end
    return kernel, strides, dilations, pads


def channels_behind(rank: int) -> tuple[int, ...]:
    """Memory order of images (n, c, h, w) and sequences (n, c, w) with the channels last."""
    return (0, *range(2, rank), 1)


def image(view: View) -> View:
    """(n, c, w) -> (n, c, 1, w); images stay."""
    if len(view.shape) == 4:
        return view
    n, c, w = view.shape
    return view.as_strided((n, c, 1, w), (view.strides[0], view.strides[1], 0, view.strides[2]))


def images(views: Sequence[View]) -> list[View]:
    """Images or sequences as kernels see them: (n, h, w, c)."""
    return [image(view).permute(CHANNELS_LAST) for view in views]


def pair(values: Sequence[int], filling: int) -> tuple[int, int]:
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

    def conv_spec(self, source: Tensor, out: Tensor, program: Program = NOTHING) -> Conv2d:
        sizes = self.window, self.stride, self.begins, self.dilation
        return Conv2d(source, out, *sizes, self.groups, program)

    def depthwise_spec(self, source: Tensor, out: Tensor, program: Program = NOTHING) -> Depthwise:
        return Depthwise(source, out, self.window, self.stride, self.begins, self.dilation, program)


def read_conv(graph: Graph, node: Node) -> ConvNode:
    """Raises UserError for what is not supported."""
    shape = graph.shapes[node.inputs[0]]
    if len(shape) not in (3, 4):
        raise UserError(f"{node.name}: Conv over {len(shape) - 2} axes, at most 2")
    weight = graph.constant(node, 1).astype(np.float32)
    weight = weight if weight.ndim == 4 else weight[:, :, None, :]
    kernel, strides, dilations, pads = window(graph, node, shape[2:])
    groups = int(node.attributes.get("group", 1))
    depthwise = groups > 1 and groups == shape[1] == weight.shape[0]
    settings = pair(kernel, 1), pair(strides, 1), tuple(pads), pair(dilations, 1)
    return ConvNode(len(shape), weight, *settings, groups, depthwise)


def bias_of(low: Lowering, node: Node) -> View | None:
    """A Conv's bias, to be broadcast over its output."""
    bias = low.weight(f"{node.name}.bias", low.graph.constant(node, 2)) if node.given(2) else None
    return along_channels(bias, len(low.graph.shapes[node.inputs[0]]))


def along_channels(bias: View | None, rank: int) -> View | None:
    """(c) -> (1, c, 1, 1), to be broadcast over an image."""
    if bias is None:
        return None
    return bias.as_strided((1, bias.shape[0]) + (1,) * (rank - 2), (0, 1) + (0,) * (rank - 2))


def channels_last(low: Lowering, name: str, source: View, always: bool) -> View:
    """Bring an image's channels next to each other, unless they are few and need not be."""
    channels = source.shape[1]
    if source.strides[1] == 1 or channels == 1 or (channels <= FEW_CHANNELS and not always):
        return source
    return low.materialize(name, source, CHANNELS_LAST)
