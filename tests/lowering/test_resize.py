"""Resizing of sequences and images gives what ONNX Runtime gives."""

from typing import Any

import numpy as np
import onnx
import pytest

from gacer_tune.errors import UserError
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.lower import lower_model
from tests.support.build import CLOSE, model, node
from tests.support.compiled import beside_onnxruntime

FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CASES: list[tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]] = [
    ((2, 5, 7), (1, 1, 2), FLOOR),
    ((1, 5, 7), (1, 1, 2.5), {"mode": "linear"}),
    ((1, 5, 7), (1, 1, 3), {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ((1, 5, 4, 6), (1, 1, 2, 1.5), {"mode": "linear"}),
]


CUBIC = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
SIZES = {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}
# Operator set, inputs and attributes of what later or earlier operator sets say in another way.
OTHERS: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (10, {"scales": [1, 1, 2, 1.5]}, {"mode": "linear"}),
    (10, {"scales": [1, 1, 2, 1.5]}, {"mode": "nearest"}),
    (18, {"scales": [2, 1.3]}, {"mode": "linear", "axes": [3, 2]}),
    (18, {"scales": [1.3]}, {"mode": "linear", "axes": [-1]}),
    (18, {"sizes": [13, 11]}, SIZES),
    (18, {"sizes": [13, 11]}, SIZES | {"keep_aspect_ratio_policy": "not_smaller"}),
    (18, {"sizes": [1, 2, 13, 11]}, {"mode": "cubic", "coordinate_transformation_mode": "align_corners"}),
    (18, {"scales": [2, 1.5]}, {"mode": "linear", "axes": [2, 3], "antialias": 1}),
    (17, {"scales": [1, 1, 2, 0.7]}, CUBIC),
]


def resized(shape: tuple[int, ...], scales: tuple[float, ...], attributes: dict[str, Any]) -> onnx.ModelProto:
    made = node("Resize", ["x", "", "scales"], ["y"], **attributes)
    return model([made], {"x": shape}, ["y"], {"scales": np.asarray(scales, np.float32)})


def test_results_are_those_of_onnx_runtime() -> None:
    protos = [resized(*case) for case in CASES]
    for number, (found, expected, _) in enumerate(beside_onnxruntime(protos, most=1)):
        assert found.shape == expected.shape, CASES[number]
        assert np.abs(found - expected).max() <= CLOSE, CASES[number]


def other(opset: int, given: dict[str, Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    constants = {name: np.array(value, np.float32 if name == "scales" else np.int64) for name, value in given.items()}
    inputs = (
        ["x", "scales"] if opset < 11 else ["x", "", *(name if name in given else "" for name in ("scales", "sizes"))]
    )
    inputs = inputs[: 1 + max(number for number, name in enumerate(inputs) if name)]
    return model([node("Resize", inputs, ["y"], **attributes)], {"x": (1, 2, 8, 9)}, ["y"], constants, opset=opset)


def test_all_operator_sets_mean_what_they_say() -> None:
    protos = [other(*case) for case in OTHERS]
    for number, (found, expected, _) in enumerate(beside_onnxruntime(protos, most=1)):
        assert found.shape == expected.shape, OTHERS[number]
        assert np.abs(found - expected).max() <= CLOSE, OTHERS[number]


def test_antialias_to_a_smaller_size_is_refused() -> None:
    proto = other(18, {"scales": [0.5, 2]}, {"mode": "linear", "axes": [2, 3], "antialias": 1})
    with pytest.raises(UserError, match=r"^n_y: Resize with antialias to a smaller size is not supported$"):
        lower_model(onnx.shape_inference.infer_shapes(proto), MACHINES["avx2"], {})


def test_volumes_are_refused() -> None:
    proto = resized((1, 2, 3, 3, 3), (1, 1, 2, 2, 2), {"mode": "linear"})
    wanted = r"^n_y: Resize of \(1, 2, 3, 3, 3\) to .*, only the last of 3 or two of 4 are supported$"
    with pytest.raises(UserError, match=wanted):
        lower_model(onnx.shape_inference.infer_shapes(proto), MACHINES["avx2"], {})
