"""Models of float16 and bfloat16 are read as the same models of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gacer_tune.bench.originals import static_model
from gacer_tune.checking import relative_error
from gacer_tune.frontend.half import is_half
from gacer_tune.frontend.load import load_model
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings
from tests.support.build import Array, model, node, op_types, run
from tests.support.compiled import beside_onnxruntime

HALF, BRAIN, FLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT


def constant(name: str, value: Array, element: int) -> onnx.TensorProto:
    dtype = helper.tensor_dtype_to_np_dtype(element)
    return numpy_helper.from_array(value.astype(dtype), name)


def network(element: int, given: int) -> onnx.ModelProto:
    """x, weights, constants that are made and values that are cast; given: type of x and of the output."""
    weight = np.random.default_rng(0).standard_normal((8, 8))
    nodes = [
        node("Cast", ["x"], ["h"], to=element),
        node("MatMul", ["h", "w"], ["m"]),
        node("ConstantOfShape", ["shape"], ["c"], value=constant("", np.asarray([0.5]), element)),
        node("Mul", ["m", "c"], ["p"]),
        node("Cast", ["p"], ["y"], to=given),
    ]
    constants = {"shape": np.asarray([4, 8])}
    built = model(nodes, {"x": (4, 8)}, ["y"], constants, types={"x": given, "y": given})
    built.graph.initializer.append(constant("w", weight, element))
    return built


@pytest.mark.parametrize("element", [HALF, BRAIN])
@pytest.mark.parametrize("kept", [False, True])
def test_what_is_read_is_float32(element: int, kept: bool, tmp_path: Path) -> None:
    built, path = network(element, FLOAT if kept else element), tmp_path / "m.onnx"
    onnx.save(built, path)
    simple = load_model(path)
    types = {item.type.tensor_type.elem_type for item in (*simple.graph.input, *simple.graph.output)}
    assert types | {item.data_type for item in simple.graph.initializer if item.data_type != TensorProto.INT64} == {
        FLOAT
    }
    assert "Cast" not in op_types(simple)
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    weight = numpy_helper.to_array(built.graph.initializer[-1]).astype(np.float32)
    assert relative_error(run(simple, {"x": x})[0], x @ weight / 2) <= 1e-6


def test_whether_a_file_holds_any(tmp_path: Path) -> None:
    wide = model([node("Relu", ["x"], ["y"])], {"x": (4,)}, ["y"])
    named = model([node("Cast", ["x"], ["h"], to=HALF), node("Cast", ["h"], ["y"], to=FLOAT)], {"x": (4,)}, ["y"])
    files = {"wide": wide, "cast": named, "half": network(HALF, FLOAT), "brain": network(BRAIN, BRAIN)}
    for name, built in files.items():
        onnx.save(built, tmp_path / name)
    assert [is_half(tmp_path / name) for name in files] == [False, True, True, True]


def test_peers_get_the_same_model_and_agree(tmp_path: Path) -> None:
    """And so a float16 of theirs, which is less exact, is not held against us."""
    path = tmp_path / "m.onnx"
    onnx.save(network(HALF, HALF), path)
    found, expected, tenant = beside_onnxruntime([load_model(path)], most=1)[0]
    assert {port.dtype for port in (*tenant.inputs, *tenant.outputs)} == {"float32"}
    assert relative_error(found, expected) <= 1e-6
    theirs = onnx.load_from_string(static_model(path, tenant)[0])
    assert theirs.graph.input[0].type.tensor_type.elem_type == FLOAT


def test_the_user_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from gacer_tune.preparing import machine_here, read_models

    path = tmp_path / "m.onnx"
    onnx.save(network(HALF, HALF), path)
    read_models(Settings(tenants=(TenantSettings(path=path, name="m"),)), machine_here(), lambda _: None)
    assert f"{path}: what is float16 or bfloat16 becomes float32, inputs and outputs as well" in caplog.text
