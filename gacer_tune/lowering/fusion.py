"""Groups of nodes that become one op: an anchor and the elementwise nodes that follow it, or elementwise nodes alone.

Only one value of a group is read outside of it, so nothing is computed twice and nothing else is stored. A group runs
where its last node stands: all that any of its nodes reads has been made by then.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from gacer_tune.lowering.conv_node import ConvNode, read_conv, window
from gacer_tune.lowering.elementwise import DEQUANTIZE, ELEMENTWISE
from gacer_tune.lowering.graph import Graph, Node
from gacer_tune.lowering.quantized import BYTE_CONV, BYTE_MATMUL
from gacer_tune.lowering.recurrent import step

NORMS = frozenset({"gacer.LayerNorm", "gacer.RmsNorm"})
ANCHORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", BYTE_CONV, BYTE_MATMUL}) | NORMS
LONGEST = 16
AXIS_MEANS_LAST = 13  # from this opset on softmax works along one axis; before, on the input seen as a matrix


@dataclass(frozen=True, slots=True)
class Group:
    """Node numbers in order; the first is the anchor (or the first elementwise node).

    parts: of an attention, the groups that are its scores, its softmax and its product with the values; of an inverted
    residual, those of its convolutions; a convolution and the pooling of its outputs two by two; a product and the
    normalisation of its rows.
    gates: True for a step of a recurrent net, which may have several values that are read outside.
    """

    nodes: tuple[int, ...]
    parts: tuple[Group, ...] = ()
    gates: bool = False

    @property
    def first(self) -> int:
        return self.nodes[0]

    @property
    def last(self) -> int:
        return self.nodes[-1]


def fuse(graph: Graph, recurrent: bool = False) -> list[Group]:
    """Return every node in exactly one group, groups in the order they run; steps of recurrent nets as one if asked."""
    taken: set[int] = set()
    groups = []
    for number, node in enumerate(graph.nodes):
        if number in taken:
            continue
        steps = step(graph, number, taken) if recurrent else ()
        if steps:
            group = Group(steps, gates=True)
        else:
            grows = node.op in ANCHORS | ELEMENTWISE
            group = _grow(graph, number, taken) if grows else Group((number,))
        taken.update(group.nodes)
        groups.append(group)
    for join in (_attentions, _inverted_residuals, _finished):
        groups = join(graph, groups)
    return sorted(groups, key=lambda group: group.last)


def _attentions(graph: Graph, groups: list[Group]) -> list[Group]:
    """Let products of two computed matrices, the softmax of their rows and its product with a third be one group.

    What is done to the last product is a group of its own.
    """
    of = {number: group for group in groups for number in group.nodes}
    makers = {graph.nodes[group.last].outputs[0]: group for group in groups}
    found = dict.fromkeys(groups)
    for softmax in (group for group in groups if graph.nodes[group.first].op == "Softmax"):
        node = graph.nodes[softmax.first]
        maker, read = makers.get(node.inputs[0]), graph.readers.get(node.outputs[0], ())
        if maker is None or len(read) != 1:
            continue
        product = of[read[0]]
        parts = maker, softmax, Group(product.nodes[:1])
        if product not in found or product.gates or not _is_attention(graph, parts):
            continue
        for part in (maker, softmax, product):
            found.pop(part)
        found[Group(tuple(number for part in parts for number in part.nodes), parts)] = None
        if len(product.nodes) > 1:
            found[Group(product.nodes[1:])] = None
    return list(found)


def _is_attention(graph: Graph, parts: tuple[Group, ...]) -> bool:
    first, softmax, last = (graph.nodes[part.first] for part in parts)
    if (first.op, last.op) != ("MatMul", "MatMul") or last.inputs[0] != softmax.outputs[0]:
        return False
    scores, weights = softmax.inputs[0], softmax.outputs[0]
    shape = graph.shapes[scores]
    kept = {scores, weights}.isdisjoint(graph.outputs) and graph.readers[scores] == [parts[1].first]
    computed = not {*first.inputs, *last.inputs} & graph.constants.keys()
    stacked = len(shape) > 2 and shape[:-2] == graph.shapes[last.outputs[0]][:-2]
    return kept and computed and stacked and softmax_axis(graph, softmax) == len(shape) - 1


def _inverted_residuals(graph: Graph, groups: list[Group]) -> list[Group]:
    """Let a depthwise convolution be one group with the 1x1 convolution before it and the one behind it."""
    of = {group.first: group for group in groups}
    makers = {graph.nodes[group.last].outputs[0]: group for group in groups}
    found = dict.fromkeys(groups)

    def joined(value: str, reader: int, other: Group | None) -> bool:
        """Whether a 1x1 convolution of no other group makes or takes a value that nobody else reads."""
        if other is None or other not in found or value in graph.outputs or graph.readers.get(value) != [reader]:
            return False
        conv = _constant_conv(graph, graph.nodes[other.first])
        return conv is not None and conv.point

    for group in groups:
        node, value = graph.nodes[group.first], graph.nodes[group.last].outputs[0]
        conv = _constant_conv(graph, node) if group in found else None
        if conv is None or not conv.depthwise:
            continue
        before, read = makers.get(node.inputs[0]), graph.readers.get(value, [])
        behind = of.get(read[0]) if len(read) == 1 and graph.nodes[read[0]].inputs[0] == value else None
        ends = joined(node.inputs[0], group.first, before), joined(value, read[0] if read else -1, behind)
        parts = [part for part, is_part in ((before, ends[0]), (group, True), (behind, ends[1])) if is_part and part]
        if len(parts) > 1:
            for part in parts:
                found.pop(part)
            found[Group(tuple(number for part in parts for number in part.nodes), tuple(parts))] = None
    return list(found)


def _finished(graph: Graph, groups: list[Group]) -> list[Group]:
    """Let a group be one with the only reader of its value, where that ends what the group does.

    It keeps the largest of each 2 x 2 outputs of a convolution, or normalises the rows of a product.
    """
    of = {group.first: group for group in groups}
    found = dict.fromkeys(groups)
    for group in groups:
        value = graph.nodes[group.last].outputs[0]
        read = graph.readers.get(value, [])
        if group.parts or group.gates or len(read) != 1 or value in graph.outputs:
            continue
        first, reader = graph.nodes[group.first], graph.nodes[read[0]]
        pooled = first.op == "Conv" and _halves(graph, reader)
        if pooled or (_weighs(graph, first) and _normalises(graph, reader, value)):
            parts = group, of[read[0]]
            for part in parts:
                found.pop(part)
            found[Group((*group.nodes, *parts[1].nodes), parts)] = None
    return list(found)


def _halves(graph: Graph, node: Node) -> bool:
    """A MaxPool that keeps the largest of each 2 x 2 values of an image; a last odd row or column is left out."""
    shape = graph.shapes[node.inputs[0]]
    if node.op != "MaxPool" or len(node.outputs) > 1 or len(shape) != 4:
        return False
    plain = window(graph, node, shape[2:]) == ([2, 2], [2, 2], [1, 1], [0] * 4)
    return plain and graph.shapes[node.outputs[0]][2:] == (shape[2] // 2, shape[3] // 2)


def _normalises(graph: Graph, node: Node, value: str) -> bool:
    """A normalisation of a value over its last axis."""
    rank = len(graph.shapes[value])
    return node.op in NORMS and node.inputs[0] == value and node.axis(rank, -1) == rank - 1


def _weighs(graph: Graph, node: Node) -> bool:
    """A product with one constant matrix."""
    weight = graph.constants.get(node.inputs[1]) if node.op in ("MatMul", "Gemm") else None
    return weight is not None and weight.ndim == 2


def _constant_conv(graph: Graph, node: Node) -> ConvNode | None:
    """What a convolution of images with constant weights says; None for all other nodes."""
    fits = node.op == "Conv" and node.inputs[1] in graph.constants and len(graph.shapes[node.inputs[0]]) == 4
    return read_conv(graph, node) if fits else None


def softmax_axis(graph: Graph, node: Node) -> int:
    """The axis that a Softmax or LogSoftmax begins with."""
    return node.axis(len(graph.shapes[node.inputs[0]]), -1 if graph.opset >= AXIS_MEANS_LAST else 1)


def _grow(graph: Graph, start: int, taken: set[int]) -> Group:
    """Absorb elementwise readers of the same shape as long as a single value is left for the outside; with them what
    turns bytes into their other operands."""
    shape = graph.shapes[graph.nodes[start].outputs[0]]
    inside = [start]
    best: tuple[int, ...] = (start,)
    queue = list(graph.readers.get(graph.nodes[start].outputs[0], ()))
    heapq.heapify(queue)
    seen = set(queue)
    while queue and len(inside) < LONGEST:
        number = heapq.heappop(queue)
        node = graph.nodes[number]
        if node.op not in ELEMENTWISE or number in taken or graph.shapes[node.outputs[0]] != shape:
            continue
        own = (graph.makers.get(name, -1) for name in node.inputs)
        inside += [maker for maker in own if graph.nodes[maker].op == DEQUANTIZE and maker not in (*inside, *taken, -1)]
        inside.append(number)
        for reader in graph.readers.get(node.outputs[0], ()):
            if reader not in seen:
                seen.add(reader)
                heapq.heappush(queue, reader)
        if _closed(graph, inside):
            best = tuple(inside)
    return Group(best)


def _closed(graph: Graph, inside: list[int]) -> bool:
    members = set(inside)
    for number in inside[:-1]:
        name = graph.nodes[number].outputs[0]
        if name in graph.outputs or not members.issuperset(graph.readers.get(name, ())):
            return False
    return True
