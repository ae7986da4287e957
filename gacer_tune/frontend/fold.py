"""Constant folding: what only depends on constants and static shapes is computed now."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from gacer_tune.frontend.graph import Graph, TensorType, Uses, sweep
from gacer_tune.frontend.inference import infer_types
from gacer_tune.frontend.nodes import Array, attribute, subgraphs, to_array, to_tensor

MAX_FOLDED_NBYTES = 64 * 2**20
MAX_ROUNDS = 20

# Random results, resampling (it differs in detail), and Identity: one that is left names a constant as graph output.
_KEPT = frozenset(
    (
        *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"),
        *("Dropout", "Resize", "Upsample", "Identity"),
    )
)
# Before operator set 13 these saw their input as a matrix, which the reference implementation ignores.
_FLATTENING = frozenset(("Softmax", "LogSoftmax", "Hardmax"))
# The result is at most a few times as large as the inputs, so it may be computed although its shape is not known yet.
_BOUNDED = frozenset(("NonZero", "Unique", "Compress", "TopK", "Trilu"))
# The reference implementation of an operator may be missing or fail in these ways. The node then stays as it is, which
# is always right: folding only saves work.
_REFERENCE_FAILURES = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


def fold_constants(graph: Graph) -> bool:
    """Replace nodes by constants in place until nothing changes; whether anything did.

    Each round may teach the shape inference new shapes (a Reshape whose target was computed), which the next one uses.
    """
    changed = False
    for _ in range(MAX_ROUNDS):
        infer_types(graph)
        if not _fold_once(graph):
            break
        changed = True
    sweep(graph)
    return changed


def _fold_once(graph: Graph) -> bool:
    kept: list[onnx.NodeProto] = []
    outputs = {item.name for item in graph.outputs}
    uses = Uses.of(graph)
    changed = False
    for node in graph.nodes:
        values = _evaluate(node, graph)
        if values is None:
            kept.append(node)
            continue
        changed = True
        for name, value in values.items():
            constant = to_tensor(value, uses.fresh(f"{name}/constant") if name in outputs else name)
            graph.constants[constant.name] = constant
            graph.types[constant.name] = TensorType(constant.data_type, value.shape)
            if name in outputs:
                kept.append(helper.make_node("Identity", [constant.name], [name], uses.fresh(f"{name}/identity")))
    graph.nodes = kept
    return changed


def _evaluate(node: onnx.NodeProto, graph: Graph) -> dict[str, Array] | None:
    """The node's outputs by name, None if it cannot be folded."""
    if node.domain or node.op_type in _KEPT or any(True for _ in subgraphs(node)):
        return None
    if node.op_type in _FLATTENING and graph.opset < 13:
        return None
    from_shape = _evaluate_shape(node, graph)
    if from_shape is not None:
        return {node.output[0]: from_shape}
    if any(name and name not in graph.constants for name in node.input) or not _is_small(node, graph):
        return None
    return _reference(node, graph)


def _evaluate_shape(node: onnx.NodeProto, graph: Graph) -> Array | None:
    """Operators that read only the shape of their input."""
    if node.op_type not in ("Shape", "Size", "EyeLike") or node.input[0] not in graph.types:
        return None
    known = graph.types[node.input[0]]
    if node.op_type == "Size":
        return np.asarray(math.prod(known.shape), np.int64)
    if node.op_type == "Shape":
        end = attribute(node, "end", len(known.shape))
        return np.asarray(known.shape[attribute(node, "start", 0) : end], np.int64)
    rows, columns = known.shape
    element = attribute(node, "dtype", known.element)
    if TensorType(element, known.shape).nbytes > MAX_FOLDED_NBYTES:
        return None
    return np.eye(rows, columns, attribute(node, "k", 0), dtype=helper.tensor_dtype_to_np_dtype(element))


def _is_small(node: onnx.NodeProto, graph: Graph) -> bool:
    """Whether all inputs and outputs together are small; unknown sizes are not."""
    names = [name for name in (*node.input, *node.output) if name]
    if node.op_type in _BOUNDED:
        names = [name for name in node.input if name]
    known = [graph.types[name] for name in names if name in graph.types]
    if len(known) < len(names) or any(item.element in (TensorProto.STRING, TensorProto.UNDEFINED) for item in known):
        return False
    return sum(item.nbytes for item in known) <= MAX_FOLDED_NBYTES


def _reference(node: onnx.NodeProto, graph: Graph) -> dict[str, Array] | None:
    try:
        feeds = {name: to_array(graph.constants[name]) for name in node.input if name}
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(_single(node, feeds, graph.opset)).run(None, feeds)
    except _REFERENCE_FAILURES:
        return None
    wanted = [name for name in node.output if name]
    values = {name: np.asarray(value) for name, value in zip(wanted, results, strict=True)}
    return values if all(_fits(value, graph.types.get(name)) for name, value in values.items()) else None


def _single(node: onnx.NodeProto, feeds: Mapping[str, Array], opset: int) -> onnx.ModelProto:
    """A model of this node alone: the evaluator minds the operator set of a model, not that of a node."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    single = helper.make_graph([node], "node", inputs, outputs)
    return helper.make_model(single, opset_imports=[helper.make_opsetid("", opset)])


def _fits(value: Array, known: TensorType | None) -> bool:
    """Guards against a reference implementation that disagrees with the inferred type."""
    if value.dtype.kind in "OSU":  # text
        return False
    if known is None:
        return True
    return value.shape == known.shape and value.dtype == helper.tensor_dtype_to_np_dtype(known.element)
