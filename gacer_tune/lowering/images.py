"""Lowers what works on images without a window: resizing, and normalisation across or within channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from gacer_tune.errors import UserError
from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.resize import Coordinates, Mode, Resize, Rounding
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.lowering.context import CHANNELS_LAST, Lowering
from gacer_tune.lowering.conv_node import pair
from gacer_tune.lowering.convolution import channels_behind, channels_last, image, images
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Node
from gacer_tune.lowering.view import View


def lrn(low: Lowering, group: Group) -> None:
    node = low.graph.nodes[group.first]
    source, out, views = _pair(low, node)
    spec = Lrn(
        views[0].tensor,
        views[1].tensor,
        int(node.attributes["size"]),
        float(node.attributes.get("alpha", 1e-4)),
        float(node.attributes.get("beta", 0.75)),
        float(node.attributes.get("bias", 1.0)),
    )
    low.emit(node.name, "lrn", [low.kernel(spec, [source], out)])


def _pair(low: Lowering, node: Node) -> tuple[View, View, list[View]]:
    """Input, output and both with the channels last."""
    source = low.view(node.inputs[0])
    rank = len(source.shape)
    order = channels_behind(rank)
    if rank == 4 and source.strides[1] != 1 and source.shape[1] > 1:
        source = low.materialize(node.name, source, CHANNELS_LAST)
    out = low.output(node.outputs[0], order)
    return source, out, [view.permute(order) for view in (source, out)]


def resize(low: Lowering, group: Group) -> None:
    """Resize (nearest, linear) of images and sequences, their channels as they are, and the older Upsample."""
    node = low.graph.nodes[group.first]
    graph = low.graph
    before, after = graph.shapes[node.inputs[0]], graph.shapes[node.outputs[0]]
    if len(before) not in (3, 4) or before[:2] != after[:2]:
        raise UserError(f"{node.name}: {node.op} of {before} to {after}, only the last of 3 or two of 4 are supported")
    old = node.op == "Upsample"
    mode = str(node.attributes.get("mode", "nearest"))
    coordinates = "asymmetric" if old else str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    rounding = "floor" if old else str(node.attributes.get("nearest_mode", "round_prefer_floor"))
    for what, value, kind in (
        ("mode", mode, Mode),
        ("coordinates", coordinates, Coordinates),
        ("rounding", rounding, Rounding),
    ):
        if value not in get_args(kind):
            raise UserError(f"{node.name}: {node.op} with {what} {value}, allowed are {', '.join(get_args(kind))}")
    source = channels_last(low, node.name, image(low.view(node.inputs[0])), True)
    out = image(low.output(node.outputs[0], channels_behind(len(before))))
    views = images((source, out))
    how = cast("Mode", mode), cast("Coordinates", coordinates), cast("Rounding", rounding)
    spec = Resize(views[0].tensor, views[1].tensor, *how, _scales(low, node, before, after))
    low.emit(node.name, "resize", [low.kernel(spec, [source], out)])


def _scales(low: Lowering, node: Node, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[float, float] | None:
    """The model's own scales where they are not simply the ratio of the extents."""
    index = 1 if node.op == "Upsample" or low.graph.opset < 11 else 2
    given: Sequence[float] = node.attributes.get("scales", ())
    if not given and node.given(index) and node.inputs[index] in low.graph.constants:
        given = [float(s) for s in low.graph.constant(node, index).reshape(-1)]
    if len(given) < 2:
        return None
    ratio = pair([b / a for a, b in zip(before[2:], after[2:], strict=True)], 1.0)
    last = (float(given[-2]), float(given[-1]))  # of a sequence the first is its channels', which is 1
    return None if last == ratio else last


def channel_norm(low: Lowering, group: Group) -> None:
    """InstanceNormalization and GroupNormalization."""
    node = low.graph.nodes[group.first]
    source, out, views = _pair(low, node)
    channels = source.shape[1]
    groups = int(node.attributes.get("num_groups", channels))
    factors = [low.view(name) for name in node.inputs[1:3]]
    if any(view.shape != (channels,) for view in factors):  # GroupNormalization of opset 18 scales whole groups
        raise UserError(f"{node.name}: {node.op} with scale of shape {factors[0].shape}, {(channels,)} is supported")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    scale, bias = (Tensor(view.shape, view.strides, view.dtype) for view in factors)
    spec = ChannelNorm(views[0].tensor, views[1].tensor, groups, epsilon, scale, bias)
    low.emit(node.name, "channel_norm", [low.kernel(spec, [source, *factors], out)])


RULES = {
    "LRN": lrn,
    "Resize": resize,
    "Upsample": resize,
    "InstanceNormalization": channel_norm,
    "GroupNormalization": channel_norm,
}
