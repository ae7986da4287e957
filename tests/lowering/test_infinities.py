"""Constants that JSON cannot write down do not stand in the way of kernels."""

import numpy as np

from tests.support.build import model, node
from tests.support.compiled import beside_onnxruntime


def test_infinite_constants_compute_what_onnx_runtime_does() -> None:
    """As exporters write masks, and limits that limit nothing."""
    constants = {"zero": np.float32(0), "low": np.float32(-np.inf), "high": np.float32(np.inf)}
    masked = [node("Greater", ["x", "zero"], ["up"]), node("Where", ["up", "x", "low"], ["y"])]
    protos = [
        model(masked, {"x": (3, 5)}, ["y"], constants),
        model([node("Clip", ["x", "zero", "high"], ["y"])], {"x": (3, 5)}, ["y"], constants),
        model([node("Clip", ["x", "low", "zero"], ["y"])], {"x": (3, 5)}, ["y"], constants),
    ]
    for found, expected, tenant in beside_onnxruntime(protos, most=1):
        assert [op.kind for op in tenant.ops] == ["map"]
        assert np.array_equal(found, expected)
