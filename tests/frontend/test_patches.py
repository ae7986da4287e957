"""Col2Im is spelt as a transposed convolution."""

import re

import numpy as np
import onnx
import pytest

from gacer_tune.errors import UserError
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs
from tests.support.compiled import beside_onnxruntime

Attributes = dict[str, list[int]]
Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Attributes]  # values, image, window

CASES: list[Case] = [
    ((2, 3 * 4, 20), (5, 6), (2, 2), {}),
    ((1, 2 * 9, 15), (5, 9), (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((1, 2 * 9, 9), (6, 7), (3, 3), {"pads": [1, 0, 0, 1], "strides": [2, 2]}),
    ((1, 2 * 6, 20), (8, 5), (2, 3), {"dilations": [5, 2], "strides": [1, 1], "pads": [1, 1, 0, 3]}),
    ((1, 2 * 3, 7), (15,), (3,), {"strides": [2]}),
]


def patches(case: Case) -> onnx.ModelProto:
    shape, image, window, attributes = case
    return model(
        [node("Col2Im", ["x", "image", "window"], ["y"], **attributes)],
        {"x": shape},
        ["y"],
        {"image": np.asarray(image, np.int64), "window": np.asarray(window, np.int64)},
        opset=18,
    )


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_onnxruntime(case: Case) -> None:
    built = patches(case)
    simple = simplify(built)
    assert op_types(simple)[-1] == "ConvTranspose" and "Col2Im" not in op_types(simple)
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_values_that_fill_no_image_are_refused() -> None:
    message = (
        "node 'n_y' (Col2Im): 12 x 21 values, where an image of (5, 6) in windows of (2, 2) takes multiples of 4 x 20"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        simplify(patches(((1, 12, 21), (5, 6), (2, 2), {})))


def test_whole_path() -> None:
    for found, expected, tenant in beside_onnxruntime([patches(case) for case in CASES], most=1):
        assert "default" not in [op.kind for op in tenant.ops]
        assert np.abs(found - expected).max() <= CLOSE
