"""Transposed convolutions of sequences and images give what ONNX Runtime gives, and are made of convolutions."""

from typing import Any

import numpy as np
import onnx
import pytest

from gacer_tune.kernels.machine import MACHINES
from gacer_tune.kernels.window import Pair
from gacer_tune.lowering.lower import lower_model
from gacer_tune.lowering.transposed import _spread
from tests.support.build import CLOSE, model, node
from tests.support.compiled import beside_onnxruntime

CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 6, 9), (6, 5, 8), {"strides": [4], "pads": [2, 2]}),
    ((2, 6, 9), (6, 5, 3), {"strides": [2], "output_padding": [1], "pads": [1, 1]}),
    ((1, 6, 9), (6, 2, 4), {"group": 3, "dilations": [3]}),
    ((1, 6, 9), (6, 5, 3), {"strides": [2], "auto_pad": "SAME_UPPER"}),
    ((1, 6, 5, 7), (6, 5, 1, 1), {"strides": [2, 2]}),
    ((1, 6, 5, 7), (6, 5, 1, 3), {"strides": [3, 2], "pads": [0, 1, 0, 1], "output_padding": [2, 1]}),
    ((1, 6, 5, 7), (6, 5, 3, 3), {"dilations": [2, 1], "strides": [2, 2], "pads": [1, 1, 2, 0]}),
    ((1, 6, 5, 7), (6, 1, 4, 4), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
]


def transposed(shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]) -> onnx.ModelProto:
    """With a bias, and an addition and an activation to be fused behind it."""
    rng = np.random.default_rng(7)
    outputs = weight[1] * attributes.get("group", 1)
    constants = {
        "w": rng.standard_normal(weight).astype(np.float32),
        "b": rng.standard_normal(outputs).astype(np.float32),
        "c": rng.standard_normal((outputs, *(1,) * (len(shape) - 2))).astype(np.float32),
    }
    nodes = [
        node("ConvTranspose", ["x", "w", "b"], ["t"], **attributes),
        node("Tanh", ["t"], ["u"]),
        node("Mul", ["u", "c"], ["y"]),
    ]
    return model(nodes, {"x": shape}, ["y"], constants)


def test_results_are_those_of_onnx_runtime() -> None:
    protos = [transposed(*case) for case in CASES]
    for number, (found, expected, tenant) in enumerate(beside_onnxruntime(protos, most=2)):
        assert found.shape == expected.shape, CASES[number]
        assert np.abs(found - expected).max() <= CLOSE, CASES[number]
        assert [op.kind for op in tenant.ops if op.kind not in ("copy", "conv_transpose")] == [], CASES[number]


@pytest.mark.parametrize(
    ("weight", "stride", "dilation", "found"),
    [
        ([[1, 2], [3, 4]], (1, 1), (1, 1), [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], (1, 3), (1, 1), [[1, 2, 0], [3, 4, 0]]),
        ([[1, 2], [3, 4]], (2, 2), (2, 1), [[1, 2], [0, 0], [3, 4]]),
        ([1, 2], (1, 2), (1, 2), [[1, 0, 2]]),
    ],
)
def test_windows_are_filled_up_with_zeros(weight: Any, stride: Pair, dilation: Pair, found: Any) -> None:
    given = np.asarray(weight, np.float32)[None, None]
    assert _spread(given, stride, dilation)[0, 0].tolist() == found


def test_a_volume_is_left_to_tvm() -> None:
    weight = np.ones((2, 2, 2, 2, 2), np.float32)
    proto = model([node("ConvTranspose", ["x", "w"], ["y"])], {"x": (1, 2, 3, 3, 3)}, ["y"], {"w": weight})
    ops = lower_model(onnx.shape_inference.infer_shapes(proto), MACHINES["avx2"], {}).ops
    assert [op.kind for op in ops] == ["default"]
