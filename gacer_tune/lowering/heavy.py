"""Lowers convolutions and matrix products, with the elementwise nodes fused behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gacer_tune.errors import UserError
from gacer_tune.kernels import pack
from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.narrow import NarrowConv
from gacer_tune.kernels.program import NOTHING
from gacer_tune.kernels.tensor import dense
from gacer_tune.lowering import attention, gates, inverted, narrow, normed, winograd
from gacer_tune.lowering.context import Epilogue, Lowering, program
from gacer_tune.lowering.conv_node import read_conv
from gacer_tune.lowering.convolution import bias_of, channels_behind, channels_last, image, image_shape, images
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Array, Graph
from gacer_tune.lowering.pooling import pool
from gacer_tune.lowering.quantized import BYTE_CONV, BYTE_MATMUL
from gacer_tune.lowering.rows import normalisation, softmax
from gacer_tune.lowering.view import View, flatten


def conv(low: Lowering, group: Group) -> None:
    """Alone, with those of an inverted residual, or with the pooling behind it."""
    if not group.parts:
        _conv(low, group, group.last)
    elif low.graph.nodes[group.last].op != "MaxPool":
        inverted.lower(low, group, conv)
    elif _pools(low, group):
        _conv(low, group.parts[0], group.last)
    else:
        conv(low, group.parts[0])
        pool(low, group.parts[1])


def _pools(low: Lowering, group: Group) -> bool:
    """Whether a convolution pools its outputs itself: by Winograd's filtering, which has tiles of them at hand."""
    graph, node = low.graph, low.graph.nodes[group.first]
    names = node.inputs[0], graph.nodes[group.parts[0].last].outputs[0]
    source, made = (dense(image_shape(graph.shapes[name])) for name in names)
    out = images([low.output(graph.nodes[group.last].outputs[0], channels_behind(4))])[0]
    return winograd.chosen(low.machine, read_conv(graph, node).conv_spec(source, made, NOTHING), out.tensor) is not None


def _conv(low: Lowering, group: Group, last: int) -> None:
    """last: the node whose value is stored, that of a pooling if it is not the group's."""
    graph, node = low.graph, low.graph.nodes[group.first]
    given = read_conv(graph, node)
    kind = "byte_conv2d" if node.op == BYTE_CONV else "conv2d"
    together = given.depthwise or kind == "byte_conv2d"
    source = channels_last(low, node.name, image(low.view(node.inputs[0])), together)
    epilogue = low.epilogue(group, bias_of(low, node))
    out = low.output(graph.nodes[last].outputs[0], channels_behind(given.rank))
    views = images((source, out, *epilogue.operands))
    finishing = program(epilogue, views[2:])
    if given.depthwise:
        packed = low.weight(f"{node.name}.weight", pack.depthwise_weight(given.weight, low.machine))
        spec: Depthwise | Conv2d = given.depthwise_spec(views[0].tensor, views[1].tensor, finishing)
        low.emit(node.name, "depthwise", [low.kernel(spec, [views[0], packed, *views[2:]], views[1])])
        return
    pooled = last != group.last
    made = dense(image_shape(graph.shapes[graph.nodes[group.last].outputs[0]])) if pooled else views[1].tensor
    spec = given.conv_spec(views[0].tensor, made, finishing)
    whole = winograd.chosen(low.machine, spec, views[1].tensor)
    if whole is not None:
        winograd.lower(low, node.name, views, given.weight, whole, spec.flops)
        return
    if given.point:
        product(low, node.name, kind, views, given.weight, epilogue)
        return
    found, packed = narrow.convolution(low, node.name, spec, given.weight)
    low.emit(node.name, kind, [low.kernel(found, [views[0], packed, *views[2:]], views[1])])


def product(low: Lowering, name: str, kind: str, views: Sequence[View], weight: Array, epilogue: Epilogue) -> None:
    """Rows times constant weights (n, k, 1, 1): a matrix product on a CPU, else, and by tiles, a 1x1 convolution.

    views are source (.., k), out (.., n) and the epilogue's operands (.., n), of one rank. The outer axes become one
    where the strides of all views allow it.
    """
    outer = len(views[0].shape) - 1
    flat = flatten(list(views), outer)
    if flat is None and outer > 3:
        flat = flatten([view if flatten([view], outer) else low.materialize(name, view) for view in views], outer)
    rows = flat if flat is not None else list(views)
    wide = [_leading(view, 4 - len(view.shape)) for view in rows]
    conv = Conv2d(wide[0].tensor, wide[1].tensor, program=program(epilogue, wide[2:]))
    spec: BatchMatmul | Conv2d | NarrowConv
    if kind == "matmul" and not isinstance(low.machine, Gpu) and narrow.chosen(low.machine, conv) is None:
        packed = low.weight(f"{name}.weight", pack.conv_weight(weight, 1, low.machine))
        matrix = dense((packed.shape[1], *packed.shape[-2:]))
        spec = BatchMatmul(rows[0].tensor, matrix, rows[1].tensor, program(epilogue, rows[2:]), constant=True)
    else:
        rows = wide
        spec, packed = narrow.convolution(low, name, conv, weight)
    low.emit(name, kind, [low.kernel(spec, [rows[0], packed, *rows[2:]], rows[1])])


def _leading(view: View, count: int) -> View:
    """Add axes of length 1 in front."""
    return view.as_strided((1,) * count + view.shape, (0,) * count + view.strides)


def matmul(low: Lowering, group: Group) -> None:
    graph, node = low.graph, low.graph.nodes[group.first]
    if group.gates:
        gates.lower(low, group)
        return
    if len(group.parts) > 2:
        if not attention.lower(low, group, _read_order(graph, graph.nodes[group.last].outputs[0])):
            for part, rule in zip(group.parts, (matmul, softmax, matmul), strict=True):
                rule(low, part)
        return
    left, right = node.inputs[0], node.inputs[1]
    if len(graph.shapes[left]) == 1 or len(graph.shapes[right]) == 1:
        raise UserError(f"{node.name}: MatMul with a vector ({graph.shapes[left]} x {graph.shapes[right]})")
    if right in graph.constants and graph.constants[right].ndim == 2:
        _matrix(low, group, low.view(left), graph.constants[right], None)
    else:
        _batched(low, group, low.view(left), low.view(right))


def gemm(low: Lowering, group: Group) -> None:
    graph, node = low.graph, low.graph.nodes[group.first]
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if alpha != 1.0 or (beta != 1.0 and node.given(2)):
        raise UserError(f"{node.name}: Gemm with alpha {alpha}, beta {beta}: only 1 with computed operands")
    left = low.view(node.inputs[0])
    left = left.permute((1, 0)) if node.attributes.get("transA", 0) else left
    bias = low.view(node.inputs[2]) if node.given(2) else None
    swapped = bool(node.attributes.get("transB", 0))
    if node.inputs[1] in graph.constants:
        weight = graph.constants[node.inputs[1]]
        _matrix(low, group, left, weight.T if swapped else weight, bias)
        return
    right = low.view(node.inputs[1])
    _batched(low, group, left, right.permute((1, 0)) if swapped else right, bias)


def _matrix(low: Lowering, group: Group, left: View, weight: Array, bias: View | None) -> None:
    """left (.., k) times a constant (k, n), and the normalisation of its rows if the group has one."""
    alone, *behind = group.parts or (group,)
    node, name = low.graph.nodes[group.first], low.graph.nodes[alone.last].outputs[0]
    epilogue = low.epilogue(alone, bias)
    turned = np.ascontiguousarray(weight.T, np.float32)[:, :, None, None]
    if behind and normed.lower(low, group, left, turned, epilogue):
        return
    out = low.output(name, tuple(range(len(low.graph.shapes[name]))))
    kind = "byte_matmul" if node.op == BYTE_MATMUL else "matmul"
    if kind == "byte_matmul" and left.strides[-1] != 1:
        left = low.materialize(node.name, left)
    product(low, node.name, kind, [left, out, *epilogue.operands], turned, epilogue)
    if behind:
        normalisation(low, behind[0])


def _read_order(graph: Graph, name: str) -> tuple[int, ...]:
    """The order of axes in memory in which a product is read: that of a Transpose behind it which keeps rows whole."""
    plain = tuple(range(len(graph.shapes[name])))
    readers = [graph.nodes[number] for number in graph.readers.get(name, ())]
    if len(readers) != 1 or readers[0].op != "Transpose" or name in graph.outputs:
        return plain
    order = tuple(readers[0].attributes.get("perm") or plain[::-1])
    return order if order[-1] == plain[-1] else plain


def _batched(low: Lowering, group: Group, left: View, right: View, bias: View | None = None) -> None:
    """Both operands are computed (attention), or the right one is a constant with batch axes."""
    graph, node = low.graph, low.graph.nodes[group.first]
    name = graph.nodes[group.last].outputs[0]
    epilogue = low.epilogue(group, bias)
    shape = graph.shapes[name]
    out = low.output(name, _read_order(graph, name))
    batch = shape[:-2]
    left, right = left.broadcast((*batch, *left.shape[-2:])), right.broadcast((*batch, *right.shape[-2:]))
    spec = BatchMatmul(left.tensor, right.tensor, out.tensor, program(epilogue, epilogue.operands))
    low.emit(node.name, "bmm", [low.kernel(spec, [left, right, *epilogue.operands], out)])
