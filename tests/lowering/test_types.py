"""Operators whose kernels compute in float32 do not compute in float32 what is of another type."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gacer_tune.errors import UserError
from tests.support.build import model, node
from tests.support.compiled import beside_onnxruntime, lowered_alone

DOUBLE, INT64, UINT8, BOOL = TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL


def of(type_: int, made: onnx.NodeProto, shape: tuple[int, ...], **constants: object) -> onnx.ModelProto:
    given = {name: np.asarray(value) for name, value in constants.items()}
    return model([made], {"x": shape}, ["y"], given, opset=20, types={"x": type_, "y": type_})


def spelt_norm(shifted: str) -> onnx.ModelProto:
    """x, or x minus its mean, over the root of the mean of its squares."""
    nodes = [
        node("ReduceMean", ["x", "last"], ["mean"]),
        node("Sub", ["x", "mean"], ["deviation"]),
        node("Mul", [shifted, shifted], ["squares"]),
        node("ReduceMean", ["squares", "last"], ["variance"]),
        node("Add", ["variance", "epsilon"], ["above"]),
        node("Sqrt", ["above"], ["root"]),
        node("Div", [shifted, "root"], ["y"]),
    ]
    constants = {"last": np.array([-1]), "epsilon": np.array(1e-9)}
    return model(nodes, {"x": (3, 5)}, ["y"], constants, opset=20, types={"x": DOUBLE, "y": DOUBLE})


def test_wide_types_are_computed_in_themselves() -> None:
    rng = np.random.default_rng(0)
    large = rng.integers(2**30, 2**31, (5, 4))
    protos = [
        of(INT64, node("MatMul", ["x", "w"], ["y"]), (3, 5), w=large),
        of(DOUBLE, node("MatMul", ["x", "w"], ["y"]), (3, 5), w=rng.standard_normal((5, 4))),
        of(DOUBLE, node("Gemm", ["x", "w"], ["y"], transB=1, alpha=0.5), (3, 5), w=rng.standard_normal((4, 5))),
        *(spelt_norm(shifted) for shifted in ("x", "deviation")),
        of(UINT8, node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]), (1, 2, 5, 5)),
        of(BOOL, node("ReduceMax", ["x", "a"], ["y"]), (3, 5), a=np.array([1])),
        of(BOOL, node("ReduceMin", ["x", "a"], ["y"]), (3, 5), a=np.array([0])),
    ]
    for found, expected, _ in beside_onnxruntime(protos, most=1):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, 1e-13, 1e-13)


@pytest.mark.parametrize(
    ("op_type", "type_", "message"),
    [
        ("GlobalMaxPool", DOUBLE, "GlobalMaxPool of float64, only float32 is supported"),
        ("ReduceL2", INT64, "ReduceL2 of int64, only floats are supported"),
        ("GlobalMaxPool", TensorProto.FLOAT, "GlobalMaxPool over 3 axes, at most 2"),
    ],
)
def test_what_no_kernel_computes_is_refused(op_type: str, type_: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lowered_alone(of(type_, node(op_type, ["x"], ["y"]), (1, 2, 3, 4, 5)))
