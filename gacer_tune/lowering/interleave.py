"""Channel shuffles behind a concatenation (ShuffleNet v2): its operands are made or copied where they belong."""

from __future__ import annotations

from dataclasses import replace

from gacer_tune.lowering.context import Lowering
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Graph, Node
from gacer_tune.lowering.view import memory_order

INTERLEAVE = "gacer.Interleave"  # element i of operand k of n along axis 1 becomes element i * n + k of the output


def interleaved(graph: Graph) -> Graph:
    """The graph with shuffles behind concatenations as nodes of their own; nothing else reads what lies between.

    Concat (n, k * c, ..) -> Reshape (n, k, c, ..) -> Transpose (n, c, k, ..) -> Reshape (n, k * c, ..)
    """
    nodes: list[Node | None] = list(graph.nodes)
    for number, node in enumerate(graph.nodes):
        chain = _chain(graph, number)
        if chain:
            for inside in chain[:-1]:
                nodes[inside] = None
            outputs = graph.nodes[chain[-1]].outputs
            nodes[chain[-1]] = Node(INTERLEAVE, node.name, node.inputs, outputs, {"axis": 1})
    return replace(graph, nodes=tuple(node for node in nodes if node is not None))


def _chain(graph: Graph, number: int) -> list[int]:
    """Numbers of the nodes of a shuffle that begins with node `number`; none if it begins no shuffle."""
    chain = [number]
    for op in ("Reshape", "Transpose", "Reshape"):
        made = graph.nodes[chain[-1]].outputs[0]
        found = graph.readers.get(made, [])
        if len(found) != 1 or graph.nodes[found[0]].op != op or made in graph.outputs:
            return []
        chain.append(found[0])
    concat, _, transpose, _ = (graph.nodes[one] for one in chain)
    before, split, turned, after = (graph.shapes[graph.nodes[one].outputs[0]] for one in chain)
    count = len(concat.inputs)
    order = list(transpose.attributes.get("perm", ()))
    shuffled = (
        concat.op == "Concat"
        and concat.axis(len(before)) == 1
        and len({graph.shapes[name] for name in concat.inputs}) == 1
        and split == (before[0], count, before[1] // count, *before[2:])
        and order == [0, 2, 1, *range(3, len(turned))]
        and after == before
    )
    return chain if shuffled else []


def interleave(low: Lowering, group: Group) -> None:
    """Copies of the operands that were not made in place, each to every n-th channel."""
    node = low.graph.nodes[group.first]
    views = [low.view(name) for name in node.inputs]
    out = low.output(node.outputs[0], memory_order(views[-1]))
    places = [out.slice(1, k, view.shape[1], len(views)) for k, view in enumerate(views)]
    copies = [low.copy(view, place) for view, place in zip(views, places, strict=True) if view != place]
    if copies:
        low.emit(node.name, "concat", copies)
