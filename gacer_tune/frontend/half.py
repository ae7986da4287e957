"""float16 and bfloat16 become float32 as soon as a model is read: a processor computes in it anyway, and on a GPU it is
`--precision` that says what products are made in. Inputs and outputs are float32, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from gacer_tune.frontend.bulk import without_bulk
from gacer_tune.frontend.limits import all_graphs, all_nodes, all_tensors
from gacer_tune.frontend.nodes import to_array, to_tensor

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPES = ("to", "dtype", "output_dtype", "stash_type", "softmax_precision")  # attributes that are element types


def widen(model: onnx.ModelProto) -> bool:
    """Replace the types in place; whether there were any. Values between are not rounded to fewer bits any more."""
    changed = False
    for tensor in all_tensors(model.graph):
        if tensor.data_type in _HALF:
            tensor.CopyFrom(to_tensor(to_array(tensor).astype(np.float32), tensor.name))
            changed = True
    for graph in all_graphs(model.graph):
        for item in (*graph.input, *graph.output, *graph.value_info):
            if item.type.tensor_type.elem_type in _HALF:
                item.type.tensor_type.elem_type = TensorProto.FLOAT
                changed = True
    for node in all_nodes(model.graph):
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
                changed = True
    return changed


def is_half(path: Path) -> bool:
    """Whether `widen` would change the model in a file; also where that cannot be told without reading all of it."""
    with path.open("rb") as file:
        model = without_bulk(file, path.stat().st_size)
    if model is None:
        return True
    types = {tensor.data_type for tensor in all_tensors(model.graph)}
    for graph in all_graphs(model.graph):
        types |= {item.type.tensor_type.elem_type for item in (*graph.input, *graph.output, *graph.value_info)}
    types |= {item.i for node in all_nodes(model.graph) for item in node.attribute if item.name in _TYPES}
    return not types.isdisjoint(_HALF)
