"""Lowers nodes that no rule knows, or that their rule refuses: TVM imports them, a nest of loops becomes a kernel.

Only operators whose import was compared with ONNX Runtime are lowered this way, because TVM's importer leaves out
attributes it does not know without a word. Importing tvm takes seconds: it happens when the first such node is met.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, inliner

from gacer_tune.errors import UserError
from gacer_tune.frontend import fold, nodes
from gacer_tune.frontend import graph as frontend
from gacer_tune.frontend.elementary import remove_identities
from gacer_tune.frontend.support import require_supported
from gacer_tune.kernels.fallback import Stage
from gacer_tune.kernels.tensor import NBYTES, contiguous
from gacer_tune.lowering.context import LoweredKernel, Lowering
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Array, Graph, Node
from gacer_tune.lowering.view import View, merged_axes

if TYPE_CHECKING:
    from gacer_tune.kernels.emit.imported import Imported

Condition = Callable[[Graph, Node], bool]
Rules = Mapping[str, Callable[[Lowering, Group], None]]

EMBEDDED = 64  # elements of the largest constant that is part of the imported model: axes, counts, scalars


def _attributes(*names: str, **values: Any) -> Condition:
    """True for a node with no attributes but these; those in `values`, where given, have that value."""

    def holds(_graph: Graph, node: Node) -> bool:
        given = node.attributes
        return set(given) <= {*names, *values} and all(
            given.get(name, value) == value for name, value in values.items()
        )

    return holds


def _constant(*inputs: int) -> Condition:
    """True when these inputs, where given, are constants."""
    return lambda graph, node: all(not node.given(i) or node.inputs[i] in graph.constants for i in inputs)


def _sums_numbers(graph: Graph, node: Node) -> bool:
    return node.attributes.get("reduction", "none") == "none" or graph.dtypes[node.inputs[0]] != "bool"


def _shifts_inside(graph: Graph, node: Node) -> bool:
    """Shifts by fewer bits than there are: others mean 0 in ONNX, and anything to a processor."""
    amounts = graph.constants.get(node.inputs[1])
    bits = 8 * NBYTES[graph.dtypes[node.inputs[0]]]
    return amounts is not None and bool(((amounts >= 0) & (amounts < bits)).all())


# Operators that no rule knows, and operators that a rule knows in part only.
_UNKNOWN = (
    "Acos Acosh AffineGrid ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor CastLike Celu Cosh CumSum DequantizeLinear Einsum GatherElements GatherND "
    "GlobalLpPool GridSample Hardmax IsInf IsNaN LpPool MatMulInteger MaxUnpool Mean MeanVarianceNormalization "
    "OneHot QuantizeLinear RMSNormalization ReduceLogSum ReduceLogSumExp Scatter ScatterElements ScatterND Shrink "
    "Sinh Swish Tan ThresholdedRelu TopK Trilu Xor"
)
_REFUSED = "AveragePool Conv ConvTranspose Gemm LogSoftmax MatMul MaxPool Mod Pad Softmax gacer.LayerNorm"
TRUSTED = frozenset((_UNKNOWN + " " + _REFUSED).split())
# What must hold for the import of some of them to be right.
CONDITIONS: dict[str, Condition] = {
    "AveragePool": _attributes("auto_pad", "count_include_pad", "kernel_shape", "pads", "strides", ceil_mode=0),
    "BitShift": _shifts_inside,
    "ConvTranspose": _attributes("dilations", "group", "kernel_shape", "output_padding", "pads", "strides"),
    "DequantizeLinear": _attributes("axis"),
    "Gemm": _attributes(),
    "IsInf": _attributes(detect_negative=1, detect_positive=1),
    "LpPool": _attributes("auto_pad", "kernel_shape", "p", "pads", "strides"),
    "MaxPool": lambda _, node: not any(node.outputs[1:]),
    "MaxUnpool": lambda _, node: not any(node.inputs[2:]) and not any(node.attributes.get("pads", ())),
    "OneHot": _constant(1, 2),
    "Pad": _constant(1, 2, 3),
    "QuantizeLinear": _attributes("axis", "saturate"),
    **dict.fromkeys(("ScatterElements", "ScatterND"), _sums_numbers),
    "Trilu": _constant(1),
}
# Operators that TVM does not import, but whose definition by other operators it does.
DEFINED = frozenset({"Celu", "Swish"})
SPELT = {"gacer.LayerNorm": "LayerNormalization"}
# Operator sets that TVM does not know for them; they mean the same in the next newer one.
OPSETS = {"gacer.LayerNorm": range(17), "TopK": range(10, 11)}
UNORDERED = {"sorted"}  # TVM's importer knows sorted results only, which are right whatever the node asks for


def _indices(graph: Graph, node: Node) -> tuple[int, Array] | None:
    """The input that holds indices and the extents of the axes they count along (along the input's last axis).

    TVM reads and writes wherever an index points to; what is out of range must not leave the tensor.
    """
    shape = graph.shapes[node.inputs[0]]
    if node.op in ("GatherElements", "Scatter", "ScatterElements"):
        return 1, np.array(shape[node.axis(len(shape))])
    if node.op in ("GatherND", "ScatterND"):
        first = int(node.attributes.get("batch_dims", 0))
        return 1, np.array(shape[first : first + graph.shapes[node.inputs[1]][-1]])
    return (1, np.array(prod(graph.shapes[node.outputs[0]]))) if node.op == "MaxUnpool" else None


@dataclass(frozen=True, slots=True)
class Single:
    """A model of one node (and what guards its indices) as base64, and the values it reads, in order of its inputs."""

    model: str
    reads: tuple[str, ...]


def single(graph: Graph, node: Node) -> Single:
    """Equal nodes give equal models: names are numbers."""
    names = {name: f"x{number}" for number, name in enumerate(dict.fromkeys(filter(None, node.inputs)))}
    small = {name for name in names if name in graph.constants and graph.constants[name].size <= EMBEDDED}
    constants = {names[name]: _constant_input(graph, node, name) for name in names if name in small}
    made: list[onnx.NodeProto] = []
    inputs = [names.get(name, "") for name in node.inputs]
    guarded = _indices(graph, node)
    if guarded is not None:
        number, extents = guarded
        extents = extents.astype(graph.dtypes[node.inputs[number]])
        constants |= {"low": -extents, "high": extents - 1}
        made.append(helper.make_node("Max", [inputs[number], "low"], ["raised"]))
        made.append(helper.make_node("Min", ["raised", "high"], ["guarded"]))
        inputs[number] = "guarded"
    attributes = {
        k: v for k, v in node.attributes.items() if k not in UNORDERED and not (isinstance(v, list) and not v)
    }
    outputs = [f"y{number}" for number in range(len(node.outputs))]
    made.append(helper.make_node(SPELT.get(node.op, node.op), inputs, outputs, **attributes))
    proto = onnx.GraphProto(name="node", node=made)
    reads = tuple(name for name in names if name not in small)
    proto.input.extend(_declared(graph, name, names[name]) for name in reads)
    proto.output.extend(_declared(graph, name, y) for name, y in zip(node.outputs, outputs, strict=True) if name)
    proto.initializer.extend(nodes.to_tensor(array, name) for name, array in constants.items())
    older = OPSETS.get(node.op, range(0))
    opset = older.stop if graph.opset in older else graph.opset
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if node.op in DEFINED:
        model = _defined(model, node.op)
    return Single(base64.b64encode(model.SerializeToString(deterministic=True)).decode(), reads)


def _constant_input(graph: Graph, node: Node, name: str) -> Array:
    array = graph.constants[name]
    if node.op == "OneHot" and name == node.inputs[1]:  # the depth may be a list of one, which TVM does not know
        return array.reshape(()).astype(np.int64)
    return array


def _declared(graph: Graph, name: str, new: str) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtypes[name]))
    return helper.make_tensor_value_info(new, element, graph.shapes[name])


def _defined(model: onnx.ModelProto, op: str) -> onnx.ModelProto:
    """The operator spelt out as ONNX defines it, what depends on shapes only computed."""
    ids = [("", op), ("", "CastLike")]
    spelt = frontend.Graph.of(inliner.inline_selected_functions(model, ids, inline_schema_functions=True))
    fold.fold_constants(spelt)
    remove_identities(spelt)
    fold.fold_constants(spelt)
    return spelt.to_model()


def _found(graph: Graph, node: Node) -> tuple[Single, Imported] | None:
    """What TVM makes of the node; None where it does not know it, or not right."""
    names = [name for name in (*node.inputs, *node.outputs) if name]
    if any(graph.dtypes[name] not in NBYTES for name in names):
        return None
    if node.op not in TRUSTED or (node.op in CONDITIONS and not CONDITIONS[node.op](graph, node)):
        return None
    from gacer_tune.kernels.emit.imported import imported
    from gacer_tune.kernels.emit.nests import NotImportedError

    try:
        alone = single(graph, node)
        found = imported(alone.model)
    except NotImportedError:
        return None
    shapes = [found.tensors[name].shape for name in found.outputs]
    return (alone, found) if shapes == [graph.shapes[name] for name in node.outputs if name] else None


def require_lowerable(model: onnx.ModelProto, graph: Graph, rules: Rules) -> None:
    """Raise one UserError that lists the operators neither a rule nor TVM knows, with the names of their nodes."""
    refused = [
        proto
        for proto, node in zip(model.graph.node, graph.nodes, strict=True)
        if node.op not in rules and _found(graph, node) is None
    ]
    require_supported(onnx.ModelProto(graph=onnx.GraphProto(node=refused)), rules)


def lower_group(low: Lowering, group: Group, rules: Rules) -> None:
    """Lower a group by the rule of its first node; where that refuses, node by node, and what no rule takes by TVM.

    Raises the rule's UserError when TVM does not know the node either.
    """
    node, done = low.graph.nodes[group.first], len(low.ops)
    if node.op not in rules:
        default(low, node)
        return
    try:
        rules[node.op](low, group)
    except UserError:
        del low.ops[done:]
        if len(group.nodes) > 1:
            for number in group.nodes:
                lower_group(low, Group((number,)), rules)
            return
        if _found(low.graph, node) is None:
            raise
        default(low, node)


def default(low: Lowering, node: Node) -> None:
    """One op of a kernel for each nest. The node must be one that `require_lowerable` lets pass."""
    found = _found(low.graph, node)
    assert found is not None
    alone, nests = found
    places = {f"i{number}": _dense(low, node, name) for number, name in enumerate(alone.reads)}
    results = [name for name in node.outputs if name]
    for value, name in zip(nests.outputs, results, strict=True):
        place = low.output(name)
        if value[0] in "vt" and value not in places and place.tensor == nests.tensors[value]:
            places[value] = place
    kernels: list[LoweredKernel] = []
    for value, tensor in nests.tensors.items():
        if value in nests.constants:
            places[value] = low.weight(f"{node.name}.{value}", nests.constants[value], exact=True)
        elif value not in places:
            places[value] = low.fresh(f"{node.name}.{value}", tensor.shape, tensor.dtype)
    for number, nest in enumerate(nests.nests):
        reads, writes = (tuple(nests.tensors[name] for name in side) for side in (nest.reads, nest.writes))
        spec = Stage(alone.model, number, reads, writes, nest.loops, nest.flops)
        kernels.append(low.kernel(spec, [places[name] for name in nest.reads], *(places[name] for name in nest.writes)))
    for value, name in zip(nests.outputs, results, strict=True):
        if low.views[name] != places[value]:
            kernels.append(low.copy(places[value], low.views[name]))
    low.emit(node.name, "default", kernels)


def _dense(low: Lowering, node: Node, name: str) -> View:
    """The value in the model's own type, axes in order and without gaps, copied where it is not so."""
    dtype = low.graph.dtypes[name]
    if low.stored(dtype) != dtype:
        return _as_written(low, node, name)
    view = low.view(name)
    if merged_axes(view.shape, view.strides) in ([], [(prod(view.shape), 1)]):
        return view.as_strided(view.shape, contiguous(view.shape))
    return low.materialize(f"{node.name}.{name}", view)


def _as_written(low: Lowering, node: Node, name: str) -> View:
    """A value that is stored in another type than the model's, brought back to it: TVM's nests know no other."""
    if name in low.graph.constants:
        return low.weight(f"{node.name}.{name}", low.graph.constants[name], exact=True)
    view, copy = low.view(name), f"{node.name}.{name}"
    out = low.fresh(copy, view.shape, low.graph.dtypes[name])
    low.emit(copy, "copy", [low.copy(view, out)])
    return out
