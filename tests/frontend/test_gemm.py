"""A Gemm between two reshapes is a product of more than two dimensions."""

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs

X, WIDE, NARROW = (2, 3, 8), 8, 5


def flattened(after: tuple[int, ...] = (2, 3, NARROW), bias: tuple[int, ...] | None = (NARROW,)) -> onnx.ModelProto:
    """x of (2, 3, 8) as 6 rows, times a matrix, in the shape `after`."""
    rng = np.random.default_rng(0)
    constants = {"flat": np.array([-1, WIDE]), "after": np.array(after), "w": rng.random((NARROW, WIDE), np.float32)}
    if bias is not None:
        constants["c"] = rng.random(bias, np.float32)
    nodes = [
        node("Reshape", ["x", "flat"], ["r"]),
        node("Gemm", ["r", "w", *(["c"] if bias is not None else [])], ["g"], transB=1),
        node("Reshape", ["g", "after"], ["y"]),
    ]
    return model(nodes, {"x": X}, ["y"], constants)


@pytest.mark.parametrize("bias", [(NARROW,), (1, NARROW), (1,), None])
def test_the_reshapes_go(bias: tuple[int, ...] | None) -> None:
    built = flattened(bias=bias)
    simple = simplify(built)
    assert op_types(simple) == ["MatMul", "Add"][: 1 if bias is None else 2]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize(
    ("built", "left"),
    [
        (flattened(after=(3, 2, NARROW)), ["Reshape", "MatMul", "Add"]),
        (flattened(after=(2, 3 * NARROW)), ["MatMul", "Add", "Reshape"]),
        (flattened(after=(6, 1, NARROW, 1)), ["MatMul", "Add", "Reshape"]),
        (flattened(bias=(6, NARROW)), ["Reshape", "Gemm", "Reshape"]),
    ],
)
def test_of_other_reshapes_one_stays(built: onnx.ModelProto, left: list[str]) -> None:
    simple = simplify(built)
    assert op_types(simple) == left
    assert difference(built, simple, random_inputs(built)) <= CLOSE
