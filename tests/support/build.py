"""Short-hands for building small ONNX models in tests and for running models in ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.support.expand import expand_gacer

Array = npt.NDArray[Any]
FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64
CLOSE = 2e-5  # largest `difference` of models that compute the same in float32


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A node; its name is its first output with `n_` before it unless given."""
    attributes.setdefault("name", f"n_{next(name for name in outputs if name)}")
    return helper.make_node(op_type, inputs, outputs, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """A float32 model. Options: opset (17), ir (8), types: element types of inputs and outputs that are not float32.

    Outputs declare no shape, so that nothing but inference can know it.
    """
    types = options.get("types", {})
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, types.get(name, FLOAT), shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, types.get(name, FLOAT), None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", options.get("opset", 17))]
    return helper.make_model(graph, opset_imports=imports, ir_version=options.get("ir", 8))


def op_types(built: onnx.ModelProto) -> list[str]:
    """Operators of the graph in order, as `Conv` or `gacer.Silu`."""
    return [f"{item.domain}.{item.op_type}" if item.domain else item.op_type for item in built.graph.node]


def random_inputs(built: onnx.ModelProto, seed: int = 0, high: int = 2) -> dict[str, Array]:
    """Seeded values for all inputs, whose shapes must be static; integers are below `high`."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    constants = {item.name for item in built.graph.initializer}
    for item in built.graph.input:
        if item.name in constants:
            continue
        shape = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)
        if np.issubdtype(dtype, np.floating):
            feeds[item.name] = rng.standard_normal(shape).astype(dtype)
        else:
            feeds[item.name] = rng.integers(0, high, shape).astype(dtype)
    return feeds


def run(built: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs in order, computed by ONNX Runtime on one thread without its own optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = expand_gacer(built).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def difference(left: onnx.ModelProto, right: onnx.ModelProto, feeds: Mapping[str, Array]) -> float:
    """How much the outputs differ: the largest |a - b| / (1 + |a|), infinite where names, shapes or types do.

    0 where both are the same infinity or not a number.
    """
    if [item.name for item in left.graph.output] != [item.name for item in right.graph.output]:
        return math.inf
    found = 0.0
    for expected, actual in zip(run(left, feeds), run(right, feeds), strict=True):
        if (expected.shape, expected.dtype) != (actual.shape, actual.dtype):
            return math.inf
        same = (expected == actual) | ((expected != expected) & (actual != actual))  # noqa: PLR0124
        wide = expected[~same].astype(np.float64)
        errors = np.abs(actual[~same].astype(np.float64) - wide) / (1 + np.abs(wide))
        found = max(found, float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0)))
    return found
