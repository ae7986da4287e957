"""Constant nodes become initializers, so that there is one place where constants are."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from gacer_tune.frontend.nodes import Array, to_tensor

_NUMBERS: dict[str, type[np.generic]] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def lift_constants(graph: onnx.GraphProto) -> None:
    """Replace each well-formed Constant node of numbers by an initializer of its output's name, in place.

    Constants of text and sparse ones stay nodes: nothing later supports them and they are to be named as what they are.
    """
    kept: list[onnx.NodeProto] = []
    found: list[TensorProto] = []
    for node in graph.node:
        tensor = _constant(node)
        if tensor is None:
            kept.append(node)
        else:
            found.append(tensor)
    graph.initializer.extend(found)
    del graph.node[:]
    graph.node.extend(kept)


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return None
    item: AttributeProto = node.attribute[0]
    if item.name == "value" and item.HasField("t") and item.t.data_type != TensorProto.STRING:
        tensor = TensorProto()
        tensor.CopyFrom(item.t)
        tensor.name = node.output[0]
        return tensor
    if item.name in _NUMBERS:
        value: Array = np.asarray(onnx.helper.get_attribute_value(item), _NUMBERS[item.name])
        return to_tensor(value, node.output[0])
    return None
