"""Rules that make operators disappear: Identity, Dropout, Cast to the same type, Sum, LpNormalization."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Graph, Replacement, Uses, sweep
from gacer_tune.frontend.nodes import attribute, free_names, has_input, has_output, label, subgraphs

_NORMS = {1: "ReduceL1", 2: "ReduceL2"}


def sum_to_adds(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Sum(a, b, c) -> Add(Add(a, b), c); a Sum of one value -> Identity. ONNX adds from left to right."""
    if node.op_type != "Sum" or node.domain:
        return None
    if len(node.input) == 1:
        return Replacement([helper.make_node("Identity", node.input, node.output, node.name)])
    nodes: list[onnx.NodeProto] = []
    left = node.input[0]
    for index, right in enumerate(node.input[1:], 1):
        last = index == len(node.input) - 1
        output = node.output[0] if last else uses.fresh(f"{node.output[0]}/sum_{index}")
        name = node.name if last else uses.fresh(f"{node.name}/sum_{index}")
        nodes.append(helper.make_node("Add", [left, right], [output], name))
        left = output
    return Replacement(nodes)


def lp_normalization_to_quotient(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """LpNormalization(x) -> x / Max(norm of x along the axis, smallest number): zeros stay zeros."""
    known = uses.types.get(node.input[0]) if node.op_type == "LpNormalization" and not node.domain else None
    if known is None:
        return None
    order = attribute(node, "p", 2)
    if order not in _NORMS:
        raise UserError(f"node {label(node)!r} (LpNormalization): p {order} is not supported, only 1 and 2")
    emit, dtype = Emitter(uses, node.output[0]), helper.tensor_dtype_to_np_dtype(known.element)
    norm = emit.reduce(_NORMS[order], node.input[0], (attribute(node, "axis", -1) % len(known.shape),))
    least = emit.constant(np.asarray(np.finfo(dtype).tiny, dtype), "least")
    made = helper.make_node("Div", [node.input[0], emit.op("Max", norm, least)], node.output, node.name)
    return Replacement([*emit.nodes, made], emit.constants)


def cast_to_identity(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Cast to the type that the value has -> Identity"""
    known = uses.types.get(node.input[0]) if node.op_type == "Cast" and not node.domain else None
    if known is None or known.element != attribute(node, "to", 0):
        return None
    return Replacement([helper.make_node("Identity", node.input, node.output, node.name)])


def dropout_to_identity(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Dropout at inference time -> Identity; kept if it trains or if somebody reads its mask."""
    if node.op_type != "Dropout" or node.domain:
        return None
    if has_output(node, 1) and uses.readers.get(node.output[1], 0) > 0:
        return None
    if has_input(node, 2):
        training = uses.array(node.input[2])
        if training is None or bool(np.any(training)):
            return None
    return Replacement([helper.make_node("Identity", node.input[:1], node.output[:1], node.name)])


def remove_identities(graph: Graph) -> None:
    """Remove Identity nodes in place; names of graph outputs stay.

    An Identity remains only where a graph output repeats a graph input, a constant or another output.
    """
    outputs = {item.name for item in graph.outputs}
    fixed = {item.name for item in graph.inputs} | graph.constants.keys() | outputs
    captured = {name for node in graph.nodes for inner in subgraphs(node) for name in free_names(inner)}
    alias: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.nodes:
        source = alias.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type != "Identity" or node.domain or captured & {node.input[0], node.output[0]}:
            kept.append(node)
        elif node.output[0] not in outputs:
            alias[node.output[0]] = source
        elif source in fixed:
            kept.append(node)
        else:  # the value itself takes the name of the output
            alias[source] = node.output[0]
            fixed.add(source)
    graph.nodes = [_renamed(node, alias) for node in kept] if alias else kept
    sweep(graph)


def _renamed(node: onnx.NodeProto, alias: dict[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        for index, name in enumerate(names):
            while name in alias:
                name = alias[name]  # noqa: PLW2901 - follows a chain of renames
            names[index] = name
    return copy
