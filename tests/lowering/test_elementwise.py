"""Elementwise operators with the constants and limits that exporters write."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.lower import lower_model
from tests.support.build import Array, model, node, run
from tests.support.compiled import beside_onnxruntime, build

INT8, INT64 = TensorProto.INT8, TensorProto.INT64


def one(op_type: str, type_: int = TensorProto.FLOAT, opset: int = 17, **constants: object) -> onnx.ModelProto:
    """An operator of an input and constants; a constant None is an optional input that is left out."""
    given = {name: np.asarray(value) for name, value in constants.items() if value is not None}
    names = ["x", *(name if name in given else "" for name in constants)]
    types = {"x": type_, "y": type_}
    return model([node(op_type, names, ["y"])], {"x": [3, 5]}, ["y"], given, opset=opset, types=types)


def alone(proto: onnx.ModelProto, values: Array) -> dict[str, Array]:
    """Outputs of a model with this input."""
    built = build([("m", proto)], 1, most=1)
    built.bench.session.port(0, built.compiled.workload.tenants[0].inputs[0])[...] = values
    return built.bench.outputs()


def test_limits_are_of_the_values_own_type() -> None:
    low, high = np.int8(20), np.int8(60)
    protos = [
        one("Clip", INT8, low=low),
        one("Clip", INT8, low=None, high=high),
        one("Clip", INT8, low=low, high=high),
        one("Clip", INT64, low=np.int64(50), high=np.int64(2**53 + 1)),
        one("Clip", low=np.float32(1), high=np.float32(-1)),
        model([node("Clip", ["x"], ["y"], max=0.5)], {"x": [3, 5]}, ["y"], opset=10),
    ]
    for found, expected, tenant in beside_onnxruntime(protos, most=1):
        assert [op.kind for op in tenant.ops] == ["map"]
        assert found.dtype == expected.dtype and np.array_equal(found, expected)


def test_limits_may_be_computed() -> None:
    nodes = [node("ReduceMean", ["x"], ["mean"], keepdims=0), node("Clip", ["x", "mean"], ["y"])]
    ((found, expected, tenant),) = beside_onnxruntime([model(nodes, {"x": [3, 5]}, ["y"])], most=1)
    assert "default" not in [op.kind for op in tenant.ops]
    assert np.allclose(found, expected, 1e-6, 1e-6)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**62) - 1, 2**63 - 1])
def test_large_integers_are_exact(value: int) -> None:
    protos = [one("Max", INT64, c=np.int64(value)), one("Add", INT64, c=np.int64(value))]
    for found, expected, _ in beside_onnxruntime(protos, most=1):
        assert np.array_equal(found, expected)


def test_integers_have_powers_that_are_fractions() -> None:
    types = {"x": INT64, "y": INT64}
    nodes = [node("Abs", ["x"], ["positive"]), node("Add", ["positive", "one"], ["base"])]
    nodes.append(node("Pow", ["base", "exponent"], ["y"]))
    protos = [
        model(nodes, {"x": [3, 5]}, ["y"], {"one": np.int64(1), "exponent": np.float32(e)}, types=types)
        for e in (0.5, 2.5, -1, 2)
    ]
    for found, expected, _ in beside_onnxruntime(protos, most=1):
        assert np.array_equal(found, expected)


def test_types_that_kernels_lack_are_refused_by_name() -> None:
    types = {"y": TensorProto.FLOAT16}
    half = model([node("Cast", ["x"], ["y"], to=types["y"])], {"x": [2]}, ["y"], types=types)
    with pytest.raises(UserError, match="n_y: output y: type float16, allowed are float32, float64, int64"):
        lower_model(half, MACHINES["avx2"], {})


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 28, reason="Mod of floats needs fmod before operator set 28")
def test_floats_have_remainders_of_the_divisor_or_of_the_dividend() -> None:
    """fmod asks for the sign of the dividend; without it newer operator sets have that of the divisor."""
    values = np.array([-4.3, 7.2, 5.0, 4.3, -7.2, 8.0], np.float32)
    divisors = np.array([2.1, -3.4, 8.0, -2.1, 3.4, np.inf], np.float32)
    nodes = [node("Mod", ["x", "by"], ["y"]), node("Mod", ["x", "by"], ["z"], fmod=1)]
    built = alone(model(nodes, {"x": [6]}, ["y", "z"], {"by": divisors}, opset=28, ir=13), values)
    np.testing.assert_allclose(built["0/y"], np.mod(values, divisors), 1e-5)
    np.testing.assert_allclose(built["0/z"], np.fmod(values, divisors), 1e-5)


def test_numbers_that_are_none_go_where_onnx_runtime_has_them_go() -> None:
    """The larger and the smaller of values are none where one of them is; a limit that is none limits nothing."""
    nan, x = np.nan, np.resize(np.array([np.nan, 1, 2, np.nan, -1], np.float32), 40)  # whole vectors, and parts
    given = {"other": [1, nan, 3, nan, 0], "third": [0, 0, 0, 0, nan], "none": nan, "number": 0.5}
    constants = {k: np.resize(np.array(v, np.float32), 40 if isinstance(v, list) else ()) for k, v in given.items()}
    operands = (["x", "other"], ["other", "x"], ["x", "other", "third"], ["x", "none"], ["x", "number"])
    nodes = [node(op, names, [f"{op}{i}"]) for op in ("Max", "Min") for i, names in enumerate(operands)]
    limits = (["x", "number"], ["x", "none"], ["x", "", "none"], ["x", "none", "number"], ["x", "number", "none"])
    nodes += [node("Clip", names, [f"Clip{i}"]) for i, names in enumerate(limits)]
    nodes.append(node("Sign", ["x"], ["Sign"]))
    proto = model(nodes, {"x": [40]}, [made.output[0] for made in nodes], constants)
    found = alone(proto, x)
    for made, expected in zip(nodes, run(proto, {"x": x}), strict=True):
        np.testing.assert_array_equal(found[f"0/{made.output[0]}"], expected, str(made))


@pytest.mark.parametrize("op_type", ["Relu", "Clip", "Tanh", "Erf", "HardSigmoid", "Sigmoid"])
def test_what_is_not_a_number_stays_so(op_type: str) -> None:
    values = np.array([np.nan, 0.5, np.nan], np.float32)
    limits = {"low": np.float32(-1), "high": np.float32(1)} if op_type == "Clip" else {}
    proto = model([node(op_type, ["x", *limits], ["y"])], {"x": [3]}, ["y"], limits)
    assert np.isnan(alone(proto, values)["0/y"]).tolist() == [True, False, True]
