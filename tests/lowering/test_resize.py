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


def resized(shape: tuple[int, ...], scales: tuple[float, ...], attributes: dict[str, Any]) -> onnx.ModelProto:
    made = node("Resize", ["x", "", "scales"], ["y"], **attributes)
    return model([made], {"x": shape}, ["y"], {"scales": np.asarray(scales, np.float32)})


def test_results_are_those_of_onnx_runtime() -> None:
    protos = [resized(*case) for case in CASES]
    for number, (found, expected, _) in enumerate(beside_onnxruntime(protos, most=1)):
        assert found.shape == expected.shape, CASES[number]
        assert np.abs(found - expected).max() <= CLOSE, CASES[number]


def test_volumes_are_refused() -> None:
    proto = resized((1, 2, 3, 3, 3), (1, 1, 2, 2, 2), {"mode": "linear"})
    wanted = r"^n_y: Resize of \(1, 2, 3, 3, 3\) to .*, only the last of 3 or two of 4 are supported$"
    with pytest.raises(UserError, match=wanted):
        lower_model(onnx.shape_inference.infer_shapes(proto), MACHINES["avx2"], {})
