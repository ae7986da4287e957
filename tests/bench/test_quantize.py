"""The quantized models of the benchmark: what ONNX Runtime's tools make of ours."""

from __future__ import annotations

import onnx
import pytest

import models
from gacer_tune.checking import ROUNDED, relative_error
from tests.bench.quantize import quantized
from tests.support.build import op_types, random_inputs, run


@pytest.mark.parametrize(
    ("name", "how", "ops", "element"),
    [
        ("tiny_branchy", "uint8", {"QuantizeLinear", "DequantizeLinear"}, onnx.TensorProto.UINT8),
        ("tiny_branchy", "int8", {"QuantizeLinear", "DequantizeLinear"}, onnx.TensorProto.INT8),
        ("tiny_attention", "dynamic", {"DynamicQuantizeLinear", "MatMulInteger"}, onnx.TensorProto.INT8),
    ],
)
def test_it_is_the_same_model_in_bytes(name: str, how: str, ops: set[str], element: int) -> None:
    before = models.MODELS[name]()
    after = onnx.load_from_string(quantized(before, how))
    assert ops <= {*op_types(after)} and not ops & {*op_types(before)}
    points = {item.data_type for item in after.graph.initializer if item.name.endswith("_zero_point")}
    assert element in points
    feeds = random_inputs(before)
    for ours, expected in zip(run(after, feeds), run(before, feeds), strict=True):
        assert 0 < relative_error(ours, expected) <= 2 * ROUNDED
