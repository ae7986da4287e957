"""Steps of recurrent nets: a product of the state with square matrices side by side, and the gates cut out of it.

What is made of the gates, elementwise and from values that are there already, runs with the product as one kernel.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from gacer_tune.kernels.gates import MOST_ROWS
from gacer_tune.lowering.elementwise import ELEMENTWISE, operands_of
from gacer_tune.lowering.graph import Graph, Node


def step(graph: Graph, product: int, taken: Collection[int]) -> tuple[int, ...]:
    """Numbers of the nodes of a step that begins with this MatMul, in order; () where it is none.

    It ends before the first node that reads a value of it and is none of it, so all others that do come later.
    """
    units = _units(graph, graph.nodes[product])
    if not units:
        return ()
    inside = [product]
    made = {graph.nodes[product].outputs[0]}
    for number in range(product + 1, len(graph.nodes)):
        node = graph.nodes[number]
        if made.isdisjoint(node.inputs):
            continue
        early = all(_early(graph, name, product) for name in node.inputs if name not in made)
        if number in taken or not early or not _fits(graph, node, made, units):
            break
        inside.append(number)
        made.add(node.outputs[0])
    cut = any(graph.nodes[number].op == "Slice" for number in inside)
    return tuple(inside) if cut and all(_stored(graph, node, units) for node in kept(graph, inside)) else ()


def _early(graph: Graph, name: str, product: int) -> bool:
    """True for values that are there before the product, and what is cut out of them."""
    maker = graph.makers.get(name, -1)
    return maker < product or (
        graph.nodes[maker].op == "Slice" and _early(graph, graph.nodes[maker].inputs[0], product)
    )


def kept(graph: Graph, inside: Collection[int]) -> list[Node]:
    """The nodes whose values others read."""
    found = []
    for number in inside:
        name = graph.nodes[number].outputs[0]
        if name in graph.outputs or not set(graph.readers.get(name, ())).issubset(inside):
            found.append(graph.nodes[number])
    return found


def bounds(graph: Graph, node: Node) -> range | None:
    """The columns that a Slice cuts out, if it cuts nothing else and leaves none out."""
    shape = graph.shapes[node.inputs[0]]
    starts, ends = graph.ints(node, "starts", 1) or [], graph.ints(node, "ends", 2) or []
    axes, steps = graph.ints(node, "axes", 3) or [*range(len(starts))], graph.ints(node, "steps", 4) or [1]
    if len(starts) != 1 or axes[0] % len(shape) != len(shape) - 1 or steps[0] != 1:
        return None
    return range(shape[-1])[starts[0] : ends[0]]


def _units(graph: Graph, node: Node) -> int:
    """Width of the state that a product reads, if it is one of a few rows with square matrices side by side, else 0."""
    weight = graph.constants.get(node.inputs[1]) if node.op == "MatMul" else None
    shape = graph.shapes[node.outputs[0]] if weight is not None and weight.ndim == 2 else ()
    if weight is None or len(shape) < 2 or node.inputs[0] in graph.constants:
        return 0
    units, columns = weight.shape
    few = prod(shape[:-1]) == max(shape[:-1]) <= MOST_ROWS
    return int(units) if few and columns % units == 0 and columns > units else 0


def _fits(graph: Graph, node: Node, made: Collection[str], units: int) -> bool:
    """True for what can be computed unit by unit."""
    name, first = node.outputs[0], node.inputs[0]
    if node.op == "Slice":
        cut = bounds(graph, node)
        return first in made and cut is not None and cut.start % units == 0 == len(cut) % units
    if node.op not in ELEMENTWISE or graph.dtypes[name] != "float32":
        return False
    shape = graph.shapes[name]
    return shape[-1] % units == 0 and all(graph.shapes[one] == shape for one in operands_of(node) if one in made)


def _stored(graph: Graph, node: Node, units: int) -> bool:
    return node.op in ELEMENTWISE and graph.shapes[node.outputs[0]][-1] == units
