"""Lowers normalisations, reductions and table look-ups."""

from __future__ import annotations

from math import prod

from gacer_tune.errors import UserError
from gacer_tune.kernels.rows import Kind, Rows
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.lowering.context import Lowering, program
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.view import View, memory_order

AXIS_MEANS_LAST = 13  # from this opset on softmax works along one axis; before, on the input seen as a matrix


def softmax(low: Lowering, group: Group) -> None:
    """Softmax and LogSoftmax along any axis."""
    graph, node = low.graph, low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    rank = len(source.shape)
    kind: Kind = "softmax" if node.op == "Softmax" else "log_softmax"
    axis = int(node.attributes.get("axis", -1 if graph.opset >= AXIS_MEANS_LAST else 1)) % rank
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
    out = low.output(node.outputs[0], tuple(range(len(source.shape))))
    rows = out.reshape(matrix)
    assert flat is not None and rows is not None
    low.emit(node.name, kind, [low.kernel(Rows(flat.tensor, rows.tensor, kind), [flat], rows)])


def layer_norm(low: Lowering, group: Group) -> None:
    graph, node = low.graph, low.graph.nodes[group.first]
    source = low.view(node.inputs[0])
    axis = int(node.attributes.get("axis", -1)) % len(source.shape)
    if axis != len(source.shape) - 1:
        raise UserError(f"{node.name}: layer normalisation over axes {axis} and on, only over the last is supported")
    name = graph.nodes[group.last].outputs[0]
    epilogue = low.epilogue(group)
    out = low.output(name, tuple(range(len(source.shape))))
    factors = [low.view(name) for name in node.inputs[1:3] if name]
    spec = Rows(
        source.tensor,
        out.tensor,
        "layer_norm",
        float(node.attributes.get("epsilon", 1e-5)),
        _row(factors[0]),
        _row(factors[1]) if len(factors) > 1 else None,
        program(epilogue, epilogue.operands),
    )
    low.emit(node.name, "layer_norm", [low.kernel(spec, [source, *factors, *epilogue.operands], out)])


def _row(view: View) -> Tensor:
    return Tensor(view.shape[-1:], view.strides[-1:], view.dtype)


RULES = {
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "gacer.LayerNorm": layer_norm,
}
