"""The graph as lowering sees it."""

from dataclasses import replace

from gacer_tune.lowering.graph import Graph, Node


def test_who_reads_and_who_makes_a_value_is_found_out_once() -> None:
    """Each step of a recurrent net asks for it."""
    add = Node("Add", "add", ("x", "x"), ("h",), {})
    split = Node("Split", "split", ("h", "x", ""), ("a", ""), {})
    graph = Graph((add, split), ("x",), ("a",), {}, {}, {}, 17)
    assert graph.readers == {"x": [0, 1], "h": [1]} and graph.makers == {"h": 0, "a": 1}
    assert graph.readers is graph.readers and graph.makers is graph.makers
    assert replace(graph, nodes=(split,)).makers == {"a": 0}
