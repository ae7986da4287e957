"""Models of single quantized operators, and larger ones. Scales make no halves, which are rounded as the last bit
says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import quantization

from gacer_tune.frontend.contrib import DOMAIN
from tests.support.build import Array, model, node, random_inputs

UINT8, INT8, INT32, FLOAT = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.FLOAT
_RNG = np.random.default_rng(5)


def scale(value: float) -> Array:
    return np.asarray(value, np.float32)


def scales(count: int) -> Array:
    return _RNG.uniform(0.011, 0.037, count).astype(np.float32)


def u8(value: int) -> Array:
    return np.asarray(value, np.uint8)


def s8(value: int) -> Array:
    return np.asarray(value, np.int8)


def i8(*shape: int) -> Array:
    return _RNG.integers(-120, 121, shape, np.int8)


def i32(*shape: int) -> Array:
    return _RNG.integers(-3000, 3000, shape, np.int32)


def one(op_type: str, values: dict[str, Any], types: dict[str, int], **changes: Any) -> onnx.ModelProto:
    """values: the inputs in order, each the array of a constant, the shape of an input, or None for one left out."""
    given = {name: value for name, value in values.items() if isinstance(value, tuple)}
    constants = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    outputs, domain, opset = changes.pop("outputs", ["y"]), changes.pop("domain", ""), changes.pop("opset", 17)
    names = [name if value is not None else "" for name, value in values.items()]
    made = node(op_type, names, outputs, domain=domain, **changes)
    built = model([made], given, outputs, constants, types=types, opset=opset)
    if domain:
        built.opset_import.append(helper.make_opsetid(domain, 1))
    return built


_PARTS: dict[str, Any] = {"as": scale(0.0213), "az": u8(7), "b": (2, 5, 6), "bs": scale(0.0179), "bz": u8(130)}
_PAIR: dict[str, Any] = {"a": (2, 5, 6), **_PARTS, "ys": scale(0.0333), "yz": u8(31)}
_UNARY: dict[str, Any] = {"x": (1, 3, 8, 8), "xs": scale(0.0213), "xz": u8(7), "ys": scale(0.0119), "yz": u8(31)}
_BYTES = {"a": UINT8, "b": UINT8, "x": UINT8, "y": UINT8}
_GEMM: dict[str, Any] = {"a": (4, 9), "as": scale(0.0213), "az": u8(7), "b": i8(9, 6), "bs": scales(6)}
_GEMM |= {"bz": np.zeros(6, np.int8), "c": i32(6)}
_CONV: dict[str, Any] = {"x": (1, 3, 9, 9), "xs": scale(0.0213), "xz": u8(7), "w": i8(4, 3, 3, 3), "ws": scales(4)}
_CONV |= {"wz": np.zeros(4, np.int8), "ys": scale(0.73), "yz": u8(128), "bias": i32(4)}
_POOLED = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}

STANDARD: dict[str, onnx.ModelProto] = {
    "quantize": one("QuantizeLinear", {"x": (3, 40), "s": scale(0.0213), "z": u8(130)}, {"y": UINT8}),
    "quantize without zero": one("QuantizeLinear", {"x": (3, 40), "s": scale(0.0213)}, {"y": UINT8}, opset=11),
    "quantize to int8": one("QuantizeLinear", {"x": (3, 40), "s": scale(0.0213), "z": s8(3)}, {"y": INT8}),
    "quantize by rows": one(
        "QuantizeLinear", {"x": (3, 4, 9), "s": scales(4), "z": i8(4) // 20}, {"y": INT8}, axis=-2, opset=13
    ),
    "dequantize": one("DequantizeLinear", {"x": (3, 40), "s": scale(0.0213), "z": u8(130)}, {"x": UINT8}),
    "dequantize without zero": one("DequantizeLinear", {"x": (3, 40), "s": scale(0.0213)}, {"x": INT8}, opset=11),
    "dequantize int32": one("DequantizeLinear", {"x": (3, 40), "s": scales(1)}, {"x": INT32}),
    "dequantize by rows": one("DequantizeLinear", {"x": i8(4, 7), "s": scales(4), "z": i8(4)}, {}, axis=0),
    "dynamic": one("DynamicQuantizeLinear", {"x": (3, 40)}, {"y": UINT8, "z": UINT8}, outputs=["y", "s", "z"]),
    "integer product": one(
        "MatMulInteger", {"a": (2, 5, 60), "b": i8(60, 7), "az": u8(7), "bz": i8(7)}, {"a": UINT8, "y": INT32}
    ),
    "integer product of values": one(
        "MatMulInteger", {"a": (5, 60), "b": (60, 7)}, {"a": UINT8, "b": INT8, "y": INT32}
    ),
    "integer conv": one(
        "ConvInteger", {"x": (1, 3, 9, 9), "w": i8(4, 3, 3, 3).view(np.uint8), "xz": u8(7), "wz": u8(90)},
        {"x": UINT8, "y": INT32}, pads=[1, 1, 1, 1],
    ),
    "quantized product": one(
        "QLinearMatMul",
        {"a": (3, 5, 40), "as": scale(0.0213), "az": u8(7), "b": i8(40, 6), "bs": scales(6), "bz": np.zeros(6, np.int8)}
        | {"ys": scale(0.73), "yz": u8(128)},
        _BYTES,
    ),
    "quantized conv": one("QLinearConv", _CONV, _BYTES, pads=[1, 1, 1, 1], strides=[2, 2]),
    "quantized conv, one scale": one(
        "QLinearConv", _CONV | {"ws": scale(0.0179), "wz": s8(0)}, _BYTES, opset=11, group=1
    ),
}  # fmt: skip
CONTRIBUTED: dict[str, onnx.ModelProto] = {
    name: one(op_type, values, types, domain=DOMAIN, **changes)
    for name, (op_type, values, types, changes) in {
        "quantize": ("QuantizeLinear", {"x": (3, 40), "s": scale(0.0213), "z": u8(130)}, {"y": UINT8}, {}),
        "dequantize": ("DequantizeLinear", {"x": (3, 40), "s": scale(0.0213), "z": u8(130)}, {"x": UINT8}, {}),
        "add": ("QLinearAdd", _PAIR, _BYTES, {}),
        "mul": ("QLinearMul", _PAIR, _BYTES, {}),
        "concat": ("QLinearConcat", {"ys": scale(0.0333), "yz": u8(31), "a": (2, 5, 6), **_PARTS}, _BYTES, {"axis": 1}),
        "sigmoid": ("QLinearSigmoid", _UNARY, _BYTES, {}),
        "leaky": ("QLinearLeakyRelu", _UNARY, _BYTES, {"alpha": 0.3}),
        "average": ("QLinearAveragePool", _UNARY, _BYTES, _POOLED),
        "global average": ("QLinearGlobalAveragePool", _UNARY, _BYTES, {}),
        "gemm": ("QGemm", _GEMM | {"ys": scale(0.73), "yz": u8(128)}, _BYTES, {}),
        "gemm of floats": (
            "QGemm", _GEMM | {"b": i8(6, 9), "bs": scale(0.0179), "bz": s8(3)}, {"a": UINT8},
            {"transB": 1, "alpha": 0.7},
        ),
        "dynamic product": (
            "DynamicQuantizeMatMul",
            {"a": (3, 40), "b": i8(40, 6), "bs": scales(6), "bz": np.zeros(6, np.int8), "bias": scales(6)}, {}, {},
        ),
        "scaled product": (
            "MatMulIntegerToFloat",
            {"a": (3, 400), "b": i8(400, 6), "as": scale(0.0213), "bs": scales(6), "az": u8(7), "bz": None}
            | {"c": scales(6)},
            {"a": UINT8}, {},
        ),
    }.items()
}  # fmt: skip


class Net:
    """A quantized model under construction; every value that it quantizes has a scale of its own."""

    def __init__(self, element: str = "uint8", seed: int = 0) -> None:
        self.rng, self.element = np.random.default_rng(seed), element
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(node(op_type, inputs, [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = value
        return name

    def quantized(self, value: str, zero: int, size: float = 0.0213) -> str:
        """The value after QuantizeLinear and DequantizeLinear; zero: from the lower limit of the element."""
        point = self.constant(np.asarray(zero + np.iinfo(self.element).min, self.element))
        parts = self.constant(scale(size)), point
        return self.op("DequantizeLinear", self.op("QuantizeLinear", value, *parts), *parts)

    def weight(self, *shape: int, axis: int = 0) -> str:
        whole = self.constant(self.rng.integers(-127, 128, shape, np.int8))
        sizes = self.constant(self.rng.uniform(0.001, 0.003, shape[axis]).astype(np.float32))
        zeros = self.constant(np.zeros(shape[axis], np.int8))
        return self.op("DequantizeLinear", whole, sizes, zeros, axis=axis)

    def conv(self, source: str, inputs: int, outputs: int, size: int = 1, axes: int = 2, **attributes: Any) -> str:
        bias = self.constant(self.rng.standard_normal(outputs).astype(np.float32))
        shape = outputs, inputs // attributes.get("group", 1), *(size,) * axes
        return self.op("Conv", source, self.weight(*shape), bias, **attributes)

    def model(self, shape: Sequence[int], output: str) -> onnx.ModelProto:
        return model([*self.nodes, node("Identity", [output], ["y"])], {"x": shape}, ["y"], self.constants)


class Calibration(quantization.CalibrationDataReader):
    """Seeded inputs of a model, as ONNX Runtime's static quantization asks for them."""

    def __init__(self, built: onnx.ModelProto) -> None:
        self.feeds: Iterator[dict[str, Array]] = iter([random_inputs(built, seed) for seed in range(3)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.feeds, None)
