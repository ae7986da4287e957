"""Types and shapes of all values, as strict as onnx can, and stricter where onnx does not look."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.graph import Graph, TensorType, declared_types
from gacer_tune.frontend.limits import check_dims
from gacer_tune.frontend.nodes import attribute, has_input, label, op_name

_LIKE_INPUT = frozenset({"GroupNormalization"})  # onnx infers no shape for it, which is that of its first input


def infer_types(graph: Graph) -> None:
    """Add the types of all values whose shape follows from the inputs, in place; UserError where shapes contradict.

    The types the graph has already are believed: clear them first where they may be wrong.
    """
    # Serialising the weights for this would cost time, and protobuf cannot beyond 2 GiB; inference does not read them.
    skeleton = graph.skeleton()
    for node in skeleton.graph.node:
        if node.op_type in _LIKE_INPUT and not node.domain:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output, node.name))
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise UserError(f"shapes do not fit together: {' '.join(str(error).split())}") from None
    graph.types.update(declared_types(inferred.graph))
    for node in graph.nodes:
        _check_node(node, graph.types)


def declare_types(model: onnx.ModelProto, types: Mapping[str, TensorType]) -> None:
    """Write the types of all node outputs into the model, in place."""
    given = {item.name for item in model.graph.output}
    for item in model.graph.output:
        if item.name in types:
            item.CopyFrom(types[item.name].value_info(item.name))
    made = (name for node in model.graph.node for name in node.output if name in types and name not in given)
    del model.graph.value_info[:]
    model.graph.value_info.extend(types[name].value_info(name) for name in made)


def forget_types(graph: onnx.GraphProto) -> None:
    """Drop declared types of all values but the inputs, and the shapes of the outputs, in place."""
    del graph.value_info[:]
    for item in graph.output:
        if item.type.HasField("tensor_type"):
            item.type.tensor_type.ClearField("shape")


def require_static(model: onnx.ModelProto) -> None:
    """Refuse a model in which a node's output has no static shape or no elements; names the node."""
    types = declared_types(model.graph)
    for node in model.graph.node:
        for name in node.output:
            if not name:
                continue
            if name not in types:
                raise UserError(
                    f"node {label(node)!r} ({op_name(node)}): the shape of its output {name!r} depends on the data,"
                    " only static shapes are supported"
                )
            if 0 in types[name].shape:
                text = "x".join(str(dim) for dim in types[name].shape)
                raise UserError(
                    f"node {label(node)!r} ({op_name(node)}): its output {name!r} is empty, its shape is {text}"
                )


def _check_node(node: onnx.NodeProto, types: dict[str, TensorType]) -> None:
    """What onnx's inference accepts although no runtime can compute it."""
    where = f"node {label(node)!r} ({op_name(node)})"
    for name in node.output:
        if name in types:
            check_dims(f"{where}: output {name!r}", types[name].shape)
    if node.domain or not node.input or node.input[0] not in types:
        return
    given = types[node.input[0]].shape
    if node.op_type == "Reshape" and node.output[0] in types:
        _check_reshape(where, given, types[node.output[0]].shape)
    if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in types:
        _check_convolution(node, where, given, types)
    if node.op_type == "BatchNormalization" and len(given) > 1:
        for name in node.input[1:5]:
            _check_vector(where, name, given[1], types)


def _check_convolution(
    node: onnx.NodeProto, where: str, given: tuple[int, ...], types: Mapping[str, TensorType]
) -> None:
    weight = types[node.input[1]].shape
    if len(weight) != len(given) or len(given) < 3:
        raise UserError(f"{where}: an input of {len(given)} dimensions and weights of {len(weight)}")
    first, second = weight[:2]
    group = attribute(node, "group", 1)
    channels, outputs = (first, second * group) if node.op_type == "ConvTranspose" else (second * group, first)
    if given[1] != channels:
        raise UserError(f"{where}: {given[1]} input channels, its weights need {channels}")
    if group < 1 or first % group:
        raise UserError(f"{where}: its weights of shape {first}x{second}x... do not split into {group} groups")
    if has_input(node, 2):
        _check_vector(where, node.input[2], outputs, types)


def _check_vector(where: str, name: str, length: int, types: Mapping[str, TensorType]) -> None:
    if name in types and types[name].shape != (length,):
        text = "x".join(str(dim) for dim in types[name].shape)
        raise UserError(f"{where}: {name!r} has shape {text}, it must be {length}")


def _check_reshape(where: str, given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if math.prod(given) != math.prod(wanted):
        shapes = ["x".join(str(dim) for dim in dims) for dims in (given, wanted)]
        raise UserError(f"{where}: cannot reshape {shapes[0]} into {shapes[1]}")
