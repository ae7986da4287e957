"""Which integer inputs index tables, and how large their values may be."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gacer_tune.frontend.shapes import fix_shapes, input_bounds
from tests.support.build import INT64, model, node


def gather(nodes: list[onnx.NodeProto], index: str, rows: int = 7, axis: int = 0) -> onnx.ModelProto:
    table = np.zeros((rows, 3) if axis == 0 else (3, rows), np.float32)
    nodes = [*nodes, node("Gather", ["t", index], ["y"], axis=axis)]
    return model(
        nodes, {"i": [2, 2], "x": [1]}, ["y"], {"t": table, "s": np.array([4]), "a": np.array([0])}, types={"i": INT64}
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_bound_of_a_direct_index(axis: int) -> None:
    assert input_bounds(gather([], "i", 7, axis)) == {"i": 7}


def test_bound_through_operators_that_keep_values() -> None:
    nodes = [
        node("Cast", ["i"], ["c"], to=TensorProto.INT32),
        node("Reshape", ["c", "s"], ["r"]),
        node("Unsqueeze", ["r", "a"], ["u"]),
        node("Squeeze", ["u", "a"], ["q"]),
    ]
    assert input_bounds(gather(nodes, "q")) == {"i": 7}


def test_no_bound_through_arithmetic() -> None:
    assert input_bounds(gather([node("Add", ["i", "a"], ["q"])], "q")) == {}


def test_smallest_of_several_tables() -> None:
    built = gather([], "i", 7)
    built.graph.node.append(node("Gather", ["small", "i"], ["z"]))
    built.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((5, 2), np.float32), "small"))
    assert input_bounds(built) == {"i": 5}


def test_bound_of_a_computed_table() -> None:
    built = model(
        [node("Relu", ["x"], ["t"]), node("Gather", ["t", "i"], ["y"])],
        {"x": [9, 2], "i": [1]},
        ["y"],
        types={"i": INT64},
    )
    fix_shapes(built, {})
    assert input_bounds(built) == {"i": 9}
