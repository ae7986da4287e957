"""Lowers normalisations, reductions and table look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from gacer_tune.errors import UserError
from gacer_tune.kernels.gather import Gather
from gacer_tune.kernels.reduce import Kind as ReduceKind
from gacer_tune.kernels.reduce import Reduce
from gacer_tune.kernels.rows import Kind, Rows
from gacer_tune.kernels.tensor import Tensor, computed
from gacer_tune.lowering.context import Epilogue, Lowering, program
from gacer_tune.lowering.fusion import AXIS_MEANS_LAST, NORMS, Group, softmax_axis
from gacer_tune.lowering.graph import Array, Node
from gacer_tune.lowering.view import View, memory_order


def softmax(low: Lowering, group: Group) -> None:
    """Softmax and LogSoftmax along any axis."""
    graph, node = low.graph, low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    rank = len(source.shape)
    kind: Kind = "softmax" if node.op == "Softmax" else "log_softmax"
    axis = softmax_axis(graph, node)
    if graph.opset < AXIS_MEANS_LAST and any(n != 1 for n in source.shape[axis + 1 :]):
        _flat_softmax(low, group, kind, axis)
        return
    out = low.output(node.outputs[0], memory_order(source))
    order = (*(a for a in range(rank) if a != axis), axis)
    views = [view.permute(order) for view in (source, out)]
    spec = Rows(views[0].tensor, views[1].tensor, kind)
    low.emit(node.name, kind, [low.kernel(spec, [views[0]], views[1])])


def _flat_softmax(low: Lowering, group: Group, kind: Kind, axis: int) -> None:
    node = low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    matrix = (prod(source.shape[:axis]), prod(source.shape[axis:]))
    flat = source.reshape(matrix) or low.materialize(node.name, source).reshape(matrix)
    out = low.output(node.outputs[0])
    rows = out.reshape(matrix)
    assert flat is not None and rows is not None
    low.emit(node.name, kind, [low.kernel(Rows(flat.tensor, rows.tensor, kind), [flat], rows)])


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation of rows: its scale and bias, those that there are, and what is done to its results."""

    kind: Kind
    epsilon: float
    factors: tuple[View, ...]
    epilogue: Epilogue

    def spec(self, source: Tensor, out: Tensor, operands: Sequence[View]) -> Rows:
        """operands: those of the epilogue in the shape of the output."""
        scale, bias = (*map(_row, self.factors), None, None)[:2]
        return Rows(source, out, self.kind, self.epsilon, scale, bias, program(self.epilogue, operands))


def read_norm(low: Lowering, group: Group) -> Norm:
    """Of a group that begins with a normalisation; UserError where it is not over the last axis."""
    graph, node = low.graph, low.graph.nodes[group.first]
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    if node.op == "gacer.RmsNorm":
        return Norm("rms_norm", epsilon, (), low.epilogue(group))
    rank = len(graph.shapes[node.inputs[0]])
    axis = node.axis(rank, -1)
    if axis != rank - 1:
        raise UserError(f"{node.name}: layer normalisation over axes {axis} and on, only over the last is supported")
    factors = tuple(low.view(name) for name in node.inputs[1:3] if name)
    return Norm("layer_norm", epsilon, factors, low.epilogue(group))


def normalisation(low: Lowering, group: Group) -> None:
    node, norm = low.graph.nodes[group.first], read_norm(low, group)
    source, operands = low.view(node.inputs[0]), norm.epilogue.operands
    out = low.output(low.graph.nodes[group.last].outputs[0])
    spec = norm.spec(source.tensor, out.tensor, operands)
    low.emit(node.name, norm.kind, [low.kernel(spec, [source, *norm.factors, *operands], out)])


def _row(view: View) -> Tensor:
    return Tensor(view.shape[-1:], view.strides[-1:], view.dtype)


KINDS: dict[str, ReduceKind] = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSumSquare": "sumsq",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
}


def reduce(low: Lowering, group: Group) -> None:
    """Reduce* of ONNX; without keepdims the output is the same memory without the axes."""
    graph, node = low.graph, low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    if node.op == "ReduceL2" and not computed(source.dtype).startswith("float"):
        raise UserError(f"{node.name}: ReduceL2 of {source.dtype}, only floats are supported")
    rank, axes = len(source.shape), graph.ints(node, "axes", 1)
    if not axes:
        axes = [] if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    reduced = tuple(sorted(a % rank for a in axes))
    name = node.outputs[0]
    made = tuple(1 if a in reduced else n for a, n in enumerate(source.shape))
    _reduced(low, group, source, reduced, KINDS[node.op], _fresh_or_output(low, name, made, memory_order(source)))


def global_average(low: Lowering, group: Group) -> None:
    """GlobalAveragePool."""
    node = low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    out = low.output(node.outputs[0], memory_order(source))
    _reduced(low, group, source, tuple(range(2, len(source.shape))), "mean", out)


def _fresh_or_output(low: Lowering, name: str, made: tuple[int, ...], order: tuple[int, ...]) -> View:
    """A place of shape `made` for the value `name`, whose own shape may lack axes of length 1."""
    if low.graph.shapes[name] == made:
        return low.output(name, order)
    out = low.fresh(name, made, low.stored(low.graph.dtypes[name]))
    view = out.reshape(low.graph.shapes[name])
    assert view is not None
    low.views[name] = view
    return out


def _reduced(low: Lowering, group: Group, source: View, axes: tuple[int, ...], kind: ReduceKind, out: View) -> None:
    node = low.graph.nodes[group.first]
    spec = Reduce(_bytes(source.tensor), _bytes(out.tensor), axes, kind)
    low.emit(node.name, "reduce", [low.kernel(spec, [source], out)])


def _bytes(tensor: Tensor) -> Tensor:
    """Booleans as the bytes they are stored in, of which the largest and the smallest are known."""
    return replace(tensor, dtype="uint8") if tensor.dtype == "bool" else tensor


def gather(low: Lowering, group: Group) -> None:
    node = low.graph.nodes[group.first]
    table = low.view(node.inputs[0])
    axis = node.axis(len(table.shape))
    known = low.graph.constants.get(node.inputs[1])
    if known is not None:
        _require_inside(node, known, table.shape[axis])
    if known is not None and known.ndim == 0:  # one row picked for good is a view
        row = table.slice(axis, int(known) % table.shape[axis], 1)
        shape, strides = (values[:axis] + values[axis + 1 :] for values in (row.shape, row.strides))
        low.views[node.outputs[0]] = row.as_strided(shape, strides)
        return
    out = low.output(node.outputs[0])
    indices = low.view(node.inputs[1])
    spec = Gather(table.tensor, indices.tensor, out.tensor, axis)
    low.emit(node.name, "gather", [low.kernel(spec, [table, indices], out)])


def _require_inside(node: Node, indices: Array, extent: int) -> None:
    outside = indices[(indices < -extent) | (indices >= extent)]
    if outside.size:
        raise UserError(f"{node.name}: Gather of index {int(outside.flat[0])}, allowed are {-extent} to {extent - 1}")


FLOAT_RULES = {
    "Softmax": softmax,
    "LogSoftmax": softmax,
    **dict.fromkeys(NORMS, normalisation),
}
RULES = {
    "GlobalAveragePool": global_average,
    "Gather": gather,
    **dict.fromkeys(KINDS, reduce),
}
