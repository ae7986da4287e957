"""Groups of nodes that become one op: an anchor and the elementwise nodes that follow it, or elementwise nodes alone.

Only one value of a group is read outside of it, so nothing is computed twice and nothing else is stored. A group runs
where its last node stands: all that any of its nodes reads has been made by then.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from gacer_tune.lowering.elementwise import ELEMENTWISE
from gacer_tune.lowering.graph import Graph

ANCHORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "gacer.LayerNorm"})
LONGEST = 16


@dataclass(frozen=True, slots=True)
class Group:
    """Node numbers in order; the first is the anchor (or the first elementwise node)."""

    nodes: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.nodes[0]

    @property
    def last(self) -> int:
        return self.nodes[-1]


def fuse(graph: Graph) -> list[Group]:
    """Return every node in exactly one group, groups in the order they run."""
    readers = graph.readers()
    taken: set[int] = set()
    groups = []
    for number, node in enumerate(graph.nodes):
        if number in taken:
            continue
        group = _grow(graph, number, readers, taken) if node.op in ANCHORS | ELEMENTWISE else Group((number,))
        taken.update(group.nodes)
        groups.append(group)
    return sorted(groups, key=lambda group: group.last)


def _grow(graph: Graph, start: int, readers: dict[str, list[int]], taken: set[int]) -> Group:
    """Absorb elementwise readers of the same shape as long as a single value is left for the outside."""
    shape = graph.shapes[graph.nodes[start].outputs[0]]
    inside = [start]
    best: tuple[int, ...] = (start,)
    queue = list(readers.get(graph.nodes[start].outputs[0], ()))
    heapq.heapify(queue)
    seen = set(queue)
    while queue and len(inside) < LONGEST:
        number = heapq.heappop(queue)
        node = graph.nodes[number]
        if node.op not in ELEMENTWISE or number in taken or graph.shapes[node.outputs[0]] != shape:
            continue
        inside.append(number)
        for reader in readers.get(node.outputs[0], ()):
            if reader not in seen:
                seen.add(reader)
                heapq.heappush(queue, reader)
        if _closed(graph, inside, readers):
            best = tuple(inside)
    return Group(best)


def _closed(graph: Graph, inside: list[int], readers: dict[str, list[int]]) -> bool:
    members = set(inside)
    for number in inside[:-1]:
        name = graph.nodes[number].outputs[0]
        if name in graph.outputs or not members.issuperset(readers.get(name, ())):
            return False
    return True
