"""What a model written in PyTorch calls once where an exported graph has several operators.

The peer must not be slower for having been exported: a linear layer adds its bias in the product, and attention is one
call that PyTorch has a kernel for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gacer_tune.lowering.graph import Graph, Node

LINEAR, ATTENTION = "torch.Linear", "torch.Attention"


def as_written(graph: Graph) -> Graph:
    """The graph with one node for each linear layer with a bias, and for each attention without a mask."""
    chains = _Chains(graph)
    gone: set[int] = set()
    put: dict[int, Node] = {}
    for number, node in enumerate(graph.nodes):
        found = chains.linear(node) if node.op == "Add" else chains.attention(node)
        if found is not None:
            parts, put[number] = found
            gone.update(parts)
    nodes = (put.get(number, node) for number, node in enumerate(graph.nodes) if number not in gone)
    return replace(graph, nodes=tuple(nodes))


@dataclass(frozen=True, slots=True)
class _Chains:
    """Nodes whose result nobody else reads."""

    graph: Graph

    def linear(self, node: Node) -> tuple[list[int], Node] | None:
        """MatMul(x, W) + b -> what is gone, and the call (x, W, b)."""
        constants = self.graph.constants
        for made, bias in (node.inputs, node.inputs[::-1]):
            product = self._before(made, "MatMul")
            if product is None or bias not in constants or self.graph.nodes[product].inputs[1] not in constants:
                continue
            x, weight = self.graph.nodes[product].inputs
            if constants[weight].ndim == 2 and constants[bias].shape == constants[weight].shape[1:]:
                return [product], replace(node, op=LINEAR, inputs=(x, weight, bias))
        return None

    def attention(self, node: Node) -> tuple[list[int], Node] | None:
        """Softmax(MatMul(q, k) / root) MatMul v -> what is gone, and the call (q, k, v); k with its axes exchanged."""
        softmax = self._before(node.inputs[0], "Softmax") if node.op == "MatMul" else None
        if softmax is None or not self._over_last(softmax):
            return None
        scaled, scale = self.graph.nodes[softmax].inputs[0], 1.0
        gone = [softmax]
        division = self._before(scaled, "Div")
        if division is not None and self._is_number(division):
            gone.append(division)
            scaled, root = self.graph.nodes[division].inputs
            scale = 1.0 / float(self.graph.constants[root].reshape(-1)[0])
        scores = self._before(scaled, "MatMul")
        if scores is None or len(self.graph.shapes[scaled]) != 4:
            return None
        inputs = (*self.graph.nodes[scores].inputs, node.inputs[1])
        return [*gone, scores], replace(node, op=ATTENTION, inputs=inputs, attributes={"scale": scale})

    def _before(self, name: str, op: str) -> int | None:
        """The number of the node of this kind that makes a value for one reader alone."""
        number = self.graph.makers.get(name)
        if number is None or name in self.graph.outputs or len(self.graph.readers[name]) != 1:
            return None
        return number if self.graph.nodes[number].op == op else None

    def _over_last(self, softmax: int) -> bool:
        node = self.graph.nodes[softmax]
        rank = len(self.graph.shapes[node.inputs[0]])
        return node.axis(rank, -1) == rank - 1

    def _is_number(self, division: int) -> bool:
        divisor = self.graph.constants.get(self.graph.nodes[division].inputs[1])
        return divisor is not None and divisor.size == 1
