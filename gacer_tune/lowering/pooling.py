"""Lowers pooling."""

from __future__ import annotations

from typing import Literal

from gacer_tune.errors import UserError
from gacer_tune.kernels.pool import Pool
from gacer_tune.lowering.context import Lowering
from gacer_tune.lowering.conv_node import pair, window
from gacer_tune.lowering.convolution import channels_behind, images
from gacer_tune.lowering.fusion import Group

Kind = Literal["max", "avg"]


def pool(low: Lowering, group: Group) -> None:
    """MaxPool and AveragePool."""
    graph, node = low.graph, low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    if len(source.shape) not in (3, 4):
        raise UserError(f"{node.name}: {node.op} over {len(source.shape) - 2} axes, at most 2")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UserError(f"{node.name}: {node.op} with indices is not supported")
    kernel, strides, dilations, pads = window(graph, node, source.shape[2:])
    out = low.output(node.outputs[0], channels_behind(len(source.shape)))
    views = images((source, out))
    begins, ends = pair(pads[: len(pads) // 2], 0), pair(pads[len(pads) // 2 :], 0)
    kind: Kind = "max" if node.op == "MaxPool" else "avg"
    spec = Pool(
        views[0].tensor,
        views[1].tensor,
        kind,
        pair(kernel, 1),
        pair(strides, 1),
        (*begins, *ends),
        pair(dilations, 1),
        bool(node.attributes.get("count_include_pad", 0)),
    )
    low.emit(node.name, "pool", [low.kernel(spec, [views[0]], views[1])])


def global_pool(low: Lowering, group: Group) -> None:
    """GlobalMaxPool."""
    node = low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    if len(source.shape) not in (3, 4):
        raise UserError(f"{node.name}: GlobalMaxPool over {len(source.shape) - 2} axes, at most 2")
    out = low.output(node.outputs[0], channels_behind(len(source.shape)))
    views = images((source, out))
    size = (views[0].shape[1], views[0].shape[2])
    spec = Pool(views[0].tensor, views[1].tensor, "max", size)
    low.emit(node.name, "pool", [low.kernel(spec, [views[0]], views[1])])


RULES = {
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalMaxPool": global_pool,
}
