"""LpNormalization is spelt as a quotient."""

import numpy as np
import onnx
import pytest

from gacer_tune.errors import UserError
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs
from tests.support.compiled import beside_onnxruntime

SHAPE = (3, 4, 5)


def normalised(**attributes: int) -> onnx.ModelProto:
    opset = attributes.pop("opset", 17)
    return model([node("LpNormalization", ["x"], ["y"], **attributes)], {"x": SHAPE}, ["y"], opset=opset)


@pytest.mark.parametrize("opset", [9, 17, 22])
@pytest.mark.parametrize("attributes", [{}, {"p": 1}, {"axis": 0}, {"p": 1, "axis": -2}, {"p": 2, "axis": 1}])
def test_results_are_those_of_onnxruntime(attributes: dict[str, int], opset: int) -> None:
    built = normalised(**attributes, opset=opset)
    simple = simplify(built)
    assert op_types(simple)[-2:] == ["Max", "Div"]
    feeds = random_inputs(built)
    feeds["x"][1] = 0  # has no direction
    assert difference(built, simple, feeds) <= CLOSE


def test_other_norms_are_refused() -> None:
    with pytest.raises(UserError, match=r"^node 'n_y' \(LpNormalization\): p 3 is not supported, only 1 and 2$"):
        simplify(normalised(p=3))


def test_whole_path() -> None:
    for found, expected, tenant in beside_onnxruntime([normalised(axis=1), normalised(p=1)], most=1):
        assert "default" not in [op.kind for op in tenant.ops]
        assert np.abs(found - expected).max() <= CLOSE
