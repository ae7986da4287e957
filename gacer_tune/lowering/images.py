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

_MODES_SINCE = 11  # from this opset on Resize says how positions are found and rounded


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
    """Resize of images and sequences, their channels as they are, and the older Upsample."""
    node = low.graph.nodes[group.first]
    graph = low.graph
    before, after = graph.shapes[node.inputs[0]], graph.shapes[node.outputs[0]]
    if len(before) not in (3, 4) or before[:2] != after[:2]:
        raise UserError(f"{node.name}: {node.op} of {before} to {after}, only the last of 3 or two of 4 are supported")
    if node.attributes.get("antialias", 0) and any(new < old for old, new in zip(before, after, strict=True)):
        raise UserError(f"{node.name}: {node.op} with antialias to a smaller size is not supported")
    how, dtype = _how(node, graph.opset), graph.dtypes[node.inputs[0]]
    if dtype != "float32" and how[0] != "nearest":
        raise UserError(f"{node.name}: {node.op} of {dtype}, {how[0]}: only float32 is supported")
    source = channels_last(low, node.name, image(low.view(node.inputs[0])), True)
    out = image(low.output(node.outputs[0], channels_behind(len(before))))
    views = images((source, out))
    scales = _scales(low, node, before, after)
    sharpness = float(node.attributes.get("cubic_coeff_a", -0.75))
    inside = bool(node.attributes.get("exclude_outside", 0))
    spec = Resize(views[0].tensor, views[1].tensor, *how, scales, sharpness=sharpness, inside=inside)
    low.emit(node.name, "resize", [low.kernel(spec, [source], out)])


def _how(node: Node, opset: int) -> tuple[Mode, Coordinates, Rounding]:
    """Upsample, and Resize before operator set 11, have positions that later are asymmetric and rounded down."""
    old = node.op == "Upsample" or opset < _MODES_SINCE
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
    return cast("Mode", mode), cast("Coordinates", coordinates), cast("Rounding", rounding)


def _scales(low: Lowering, node: Node, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[float, float] | None:
    """The model's own scales of rows and columns where they are not simply the ratio of the extents."""
    rank = len(before)
    axes = [int(axis) % rank for axis in node.attributes.get("axes", range(rank))]
    given = _given_scales(low, node)
    policy = str(node.attributes.get("keep_aspect_ratio_policy", "stretch"))
    if not given and policy != "stretch":
        wanted = [int(size) for size in low.graph.constant(node, 3).reshape(-1)]
        ratios = [size / before[axis] for size, axis in zip(wanted, axes, strict=True)]
        given = [min(ratios) if policy == "not_larger" else max(ratios)] * len(axes)
    if len(given) != len(axes):
        return None
    own = dict(zip(axes, given, strict=True))
    scales = own.get(rank - 2, 1.0) if rank == 4 else 1.0, own.get(rank - 1, 1.0)
    ratio = pair([b / a for a, b in zip(before[2:], after[2:], strict=True)], 1.0)
    return None if scales == ratio else scales


def _given_scales(low: Lowering, node: Node) -> Sequence[float]:
    """By axis; none where the sizes are given, or where they are computed."""
    index = 1 if node.op == "Upsample" or low.graph.opset < _MODES_SINCE else 2
    given: Sequence[float] = node.attributes.get("scales", ())
    if not given and node.given(index) and node.inputs[index] in low.graph.constants:
        given = [float(scale) for scale in low.graph.constant(node, index).reshape(-1)]
    return given


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


FLOAT_RULES = {
    "LRN": lrn,
    "InstanceNormalization": channel_norm,
    "GroupNormalization": channel_norm,
}
RULES = {"Resize": resize, "Upsample": resize}
