"""Quantized models are computed in float32, with the numbers that ONNX Runtime gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime import quantization

import models
from gacer_tune.checking import ROUNDED, TOLERANCE, allowed, relative_error
from gacer_tune.errors import UserError
from gacer_tune.frontend.load import load_model
from gacer_tune.ir.workload import Workload
from tests.support.build import Array, difference, model, node, op_types, random_inputs, run
from tests.support.compiled import beside_onnxruntime
from tests.support.quantized import CONTRIBUTED, INT8, INT32, STANDARD, UINT8, Calibration, i8, one, scale, scales, u8

STEPS = 1  # by which results may differ that are rounded
QUANTIZED = {"DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}


def loaded(built: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    onnx.save(built, str(folder / "m.onnx"))
    return load_model(folder / "m.onnx")


def bytes_of(built: onnx.ModelProto) -> dict[str, Array]:
    """Inputs from the whole range of their type."""
    feeds = random_inputs(built)
    rng = np.random.default_rng(2)
    for name, value in feeds.items():
        if value.dtype.kind in "iu":
            info = np.iinfo(value.dtype)
            low, high = max(info.min, -3000), min(info.max, 3000)
            feeds[name] = rng.integers(low, high + 1, value.shape).astype(value.dtype)
    return feeds


@pytest.mark.parametrize("built", [*STANDARD.values(), *CONTRIBUTED.values()], ids=[*STANDARD, *CONTRIBUTED])
def test_single_operators(built: onnx.ModelProto, tmp_path: Path) -> None:
    simple = loaded(built, tmp_path)
    assert not {op for op in op_types(simple) if op in QUANTIZED or op.startswith("QLinear") or "." in op}
    feeds = bytes_of(built)
    for ours, expected in zip(run(simple, feeds), run(built, feeds), strict=True):
        assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
        if expected.dtype.kind == "f":
            assert relative_error(ours, expected) <= 1e-6
        else:
            apart = np.abs(ours.astype(np.int64) - expected)
            assert apart.max() <= STEPS and np.count_nonzero(apart) <= apart.size // 50


def test_halves_are_rounded_to_even_and_what_is_beyond_is_the_limit(tmp_path: Path) -> None:
    built = one("QuantizeLinear", {"x": (8,), "s": scale(2.0), "z": u8(10)}, {"y": UINT8})
    feeds = {"x": np.array([1, 3, 5, -1, -3, 1e9, -1e9, -20], np.float32)}
    (found,) = run(loaded(built, tmp_path), feeds)
    assert found.tolist() == [10, 12, 12, 10, 8, 255, 0, 0] == run(built, feeds)[0].tolist()


def test_a_dynamic_scale_of_zeros_is_one(tmp_path: Path) -> None:
    built = STANDARD["dynamic"]
    feeds = {"x": np.zeros((3, 40), np.float32)}
    simple = loaded(built, tmp_path)
    assert difference(built, simple, feeds) == 0
    assert float(run(simple, feeds)[1]) == 1


def test_between_rounding_and_use_values_stay_float(tmp_path: Path) -> None:
    """No Cast is left in a chain of quantized operators, whoever wrote it, with pooling of bytes in it."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxPool", ["p"], ["pp"], kernel_shape=[2, 2]),
        node("QLinearConv", ["pp", "s", "z", "w", "ws", "wz", "s", "z"], ["c"]),
        node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    constants = {"s": scale(0.0213), "z": u8(131), "w": i8(4, 3, 1, 1), "ws": scales(4), "wz": np.zeros(4, np.int8)}
    built = model(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants)
    simple = loaded(built, tmp_path)
    assert "Cast" not in op_types(simple)
    assert op_types(simple).count("MaxPool") == 2
    assert relative_error(*(run(each, random_inputs(built))[0] for each in (simple, built))) <= 1e-6


@pytest.mark.parametrize("change", ["", "scale", "zero", "type"])
def test_pooling_between_equal_scales_is_that_of_bytes(change: str, tmp_path: Path) -> None:
    """As ONNX Runtime writes it: dequantized, pooled and quantized again. Other scales, zero points or types stay."""
    other = u8(9) if change == "zero" else np.asarray(7, np.int8) if change == "type" else u8(7)
    constants = {"s": scale(0.0213), "z": u8(7), "s2": scale(0.03 if change == "scale" else 0.0213), "z2": other}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("QuantizeLinear", ["p", "s2", "z2"], ["r"]),
        node("DequantizeLinear", ["r", "s2", "z2"], ["y"]),
    ]
    built = model(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants)
    simple = loaded(built, tmp_path)
    assert op_types(simple).count("Round") == (1 if change == "" else 2)
    assert relative_error(*(run(each, random_inputs(built))[0] for each in (simple, built))) <= 1e-6


def test_what_only_looks_like_rounding_to_bytes_is_cast(tmp_path: Path) -> None:
    """Halves that are made bytes, and numbers beyond the limits of bytes, are others as bytes."""
    for shift, most in ((0.5, 255.0), (1.0, 300.0)):
        names = {"half": shift, "most": most, "least": 0.0, "s": 0.0213}
        nodes = [
            node("Round", ["x"], ["r"]),
            node("Add", ["r", "half"], ["h"]),
            node("Min", ["h", "most"], ["l"]),
            node("Max", ["l", "least"], ["m"]),
            node("Cast", ["m"], ["b"], to=UINT8),
            node("DequantizeLinear", ["b", "s"], ["y"]),
        ]
        built = model(nodes, {"x": (3, 40)}, ["y"], {name: scale(value) for name, value in names.items()})
        assert op_types(loaded(built, tmp_path)).count("Cast") == 2


def test_sums_beyond_what_float32_has_stay_integers_unless_they_are_cast(tmp_path: Path) -> None:
    long = one("MatMulInteger", {"a": (5, 600), "b": i8(600, 7)}, {"a": UINT8, "y": INT32})
    assert "MatMulInteger" in op_types(loaded(long, tmp_path))
    cast = node("Cast", ["y"], ["f"], to=1)
    long.graph.node.append(cast)
    long.graph.output[0].CopyFrom(helper.make_tensor_value_info("f", 1, None))
    simple = loaded(long, tmp_path)
    assert "MatMulInteger" not in op_types(simple)
    assert relative_error(*(run(each, bytes_of(long))[0] for each in (simple, long))) <= 1e-6


def test_large_weights_are_constants_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding leaves alone what becomes too large; a weight that is computed in each run would be far slower."""
    monkeypatch.setattr("gacer_tune.frontend.fold.MAX_FOLDED_NBYTES", 100)
    nodes = [
        node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=0),
        node("MatMul", ["x", "f"], ["m"]),
        node("DynamicQuantizeLinear", ["m"], ["b", "s", "z"]),
        node("MatMulInteger", ["b", "v", "z", "vz"], ["n"]),
        node("Cast", ["n"], ["y"], to=1),
    ]
    constants = {"w": i8(9, 8), "ws": scales(9), "wz": i8(9), "v": i8(8, 7), "vz": i8(7)}
    built = model(nodes, {"x": (4, 9)}, ["y"], constants)
    simple = loaded(built, tmp_path)
    weights = {name for item in simple.graph.node if item.op_type == "MatMul" for name in item.input[1:]}
    assert len(weights) == 2 and weights <= {item.name for item in simple.graph.initializer}
    assert relative_error(*(run(each, random_inputs(built))[0] for each in (simple, built))) <= 1e-2


def test_what_is_not_known_stays_as_it_is(tmp_path: Path) -> None:
    """Scales of blocks, and bytes of other kinds."""
    blocks = one(
        "DequantizeLinear", {"x": (4, 8), "s": scales(8).reshape(4, 2)}, {"x": INT8}, opset=21, axis=1, block_size=4
    )
    assert op_types(loaded(blocks, tmp_path)) == ["DequantizeLinear"]
    wide = one("QuantizeLinear", {"x": (4, 8), "s": scale(0.1), "z": np.asarray(3, np.uint16)}, {"y": 4}, opset=21)
    assert op_types(loaded(wide, tmp_path)) == ["QuantizeLinear"]


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (
            one("QLinearAveragePool", {"x": (1, 8, 8, 3), "xs": scale(1), "xz": None, "ys": scale(1)},
                {"x": UINT8, "y": UINT8}, domain="com.microsoft", channels_last=1, kernel_shape=[2, 2]),
            "channels_last is not supported",
        ),
        (
            one("QLinearConcat", {"ys": scale(1), "yz": u8(0), "a": (2,), "as": scale(1)}, {"a": UINT8, "y": UINT8},
                domain="com.microsoft", axis=0),
            "4 inputs, allowed are 2 and 3 for each part",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(built: onnx.ModelProto, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        loaded(built, tmp_path)
    assert "n_y" in str(caught.value)


@pytest.mark.parametrize("how", ["QDQ", "QOperator", "dynamic"])
def test_what_onnxruntime_quantizes_has_rules_and_its_results(how: str, tmp_path: Path) -> None:
    built = models.MODELS["tiny_attention" if how == "dynamic" else "tiny_branchy"]()
    onnx.save(built, str(tmp_path / "float.onnx"))
    paths = str(tmp_path / "float.onnx"), str(tmp_path / "quantized.onnx")
    if how == "dynamic":
        quantization.quantize_dynamic(*paths)
    else:
        made = quantization.QuantFormat[how]
        quantization.quantize_static(*paths, Calibration(built), quant_format=made, per_channel=True)
    quantized = onnx.load(paths[1])
    renamed = quantized.graph.output[0].name
    for each in quantized.graph.node:
        for names in (each.input, each.output):
            names[:] = ["y" if name == renamed else name for name in names]
    quantized.graph.output[0].name = "y"
    found, expected, tenant = beside_onnxruntime([quantized], most=1)[0]
    assert "default" not in {op.kind for op in tenant.ops}
    assert tenant.rounds and allowed(tenant, "fp32") == ROUNDED
    assert relative_error(found, expected) <= ROUNDED / 4
    assert Workload.from_json(Workload((tenant,)).to_json()).tenants == (tenant,)


def test_other_models_are_held_to_the_usual_tolerance() -> None:
    built = model([node("Relu", ["x"], ["y"])], {"x": (3, 40)}, ["y"])
    tenant = beside_onnxruntime([built], most=1)[0][2]
    assert not tenant.rounds and allowed(tenant, "fp32") == TOLERANCE
    assert "rounds" not in Workload((tenant,)).to_json()["tenants"][0]
