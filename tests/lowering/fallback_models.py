"""Models full of operators that no rule knows, or not in that form, for the tests of the default schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from tests.support.build import model, node

Array = Any
INT64, INT32, INT8, UINT8, BOOL = (getattr(TensorProto, name) for name in ("INT64", "INT32", "INT8", "UINT8", "BOOL"))
DOUBLE = TensorProto.DOUBLE
i64, f32 = np.int64, np.float32


class Net:
    """A model that grows node by node; what the tested nodes read is made by operators that a rule knows."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, Sequence[int]] = {}
        self.constants: dict[str, Array] = {}
        self.types: dict[str, int] = {}
        self.outputs: list[str] = []
        self.tested: list[str] = []

    def given(self, kind: str, shape: Sequence[int], type_: int) -> str:
        """An input, the same one for the same kind and shape."""
        name = f"{kind}_{'x'.join(map(str, shape))}"
        self.inputs[name], self.types[name] = shape, type_
        return name

    def made(
        self, kind: str, shape: Sequence[int], type_: int, nodes: Callable[[str, str], list[onnx.NodeProto]]
    ) -> str:
        """A value made by these nodes from an input of its own."""
        name = self.given(kind, shape, type_)
        if not any(f"{name}_made" in item.output for item in self.nodes):
            self.nodes += nodes(name, f"{name}_made")
        return f"{name}_made"

    def x(self, *shape: int) -> str:
        """Positive and negative numbers; an input, or made of one where many nodes read it."""
        if shape != (3, 4, 5):
            return self.given("x", shape, TensorProto.FLOAT)
        return self.made("x", shape, TensorProto.FLOAT, lambda a, b: [node("Add", [a, self.const(f32(0.25))], [b])])

    def unit(self, *shape: int) -> str:
        """Numbers from -1 to 1."""
        return self.made("unit", shape, TensorProto.FLOAT, lambda a, b: [node("Tanh", [a], [b])])

    def large(self, *shape: int) -> str:
        """Numbers of at least 1."""

        def nodes(source: str, made: str) -> list[onnx.NodeProto]:
            return [node("Abs", [source], [f"{source}_abs"]), node("Exp", [f"{source}_abs"], [made])]

        return self.made("large", shape, TensorProto.FLOAT, nodes)

    def ints(self, top: int, *shape: int, type_: int = INT64) -> str:
        """Integers from -top to top - 1, many of them equal."""
        dtype = i64 if type_ == INT64 else np.int32
        double, single = self.const(np.array(2 * top, dtype)), self.const(np.array(top, dtype))

        def nodes(source: str, made: str) -> list[onnx.NodeProto]:
            return [node("Mod", [source, double], [f"{source}_mod"]), node("Sub", [f"{source}_mod", single], [made])]

        return self.made(f"ints{type_}_{top}", shape, type_, nodes)

    def const(self, value: Any) -> str:
        array = np.asarray(value)
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def op(
        self, op_type: str, names: Sequence[str], types: Sequence[int] = (TensorProto.FLOAT,), **attributes: Any
    ) -> None:
        """A tested node. Its outputs are outputs of the model, some through an operator that a rule knows."""
        number = len(self.nodes)
        made = [f"{op_type}_{number}_{i}" for i in range(len(types))]
        self.nodes.append(node(op_type, names, made, **attributes))
        self.tested.append(self.nodes[-1].name)
        for name, type_ in zip(made, types, strict=True):
            behind = f"{name}_neg" if number % 4 == 1 and type_ == TensorProto.FLOAT else name
            if behind != name:
                self.nodes.append(node("Neg", [name], [behind]))
            self.outputs.append(behind)
            self.types[behind] = type_

    def built(self) -> onnx.ModelProto:
        return model(self.nodes, self.inputs, self.outputs, self.constants, opset=self.opset, types=self.types)


def indexing(net: Net) -> None:
    x = net.x(3, 4, 5)
    for axis, shape in ((0, (2, 4, 5)), (-1, (3, 4, 6))):
        net.op("GatherElements", [x, net.ints(3, *shape)], axis=axis)
    net.op("GatherElements", [x, net.const(np.array([[[1, -2]]]))], axis=2)
    net.op("GatherND", [x, net.ints(3, 6, 2)])
    net.op("GatherND", [x, net.ints(3, 2, 3)])
    net.op("GatherND", [x, net.ints(3, 3, 2, 1)], batch_dims=1)
    places = net.const(np.random.default_rng(0).permuted(np.tile(np.arange(4), (3, 5, 1)), axis=2).transpose(0, 2, 1))
    net.op("ScatterElements", [x, places, net.x(3, 4, 5)], axis=1)
    net.op("ScatterElements", [x, net.const(np.array([[[-1], [1]]])), net.x(1, 2, 1)], axis=-1)
    net.op("ScatterND", [x, net.const(np.array([[2, 1], [0, -1]])), net.x(2, 5)])
    net.op("ScatterND", [x, net.const(np.array([[1]])), net.x(1, 4, 5)])
    for axis in (-1, 0):
        net.op("OneHot", [net.ints(3, 3, 4), net.const(np.array([6])), net.const(np.array([0.5, 2], f32))], axis=axis)
    net.op("OneHot", [net.ints(3, 3, 4), net.const(np.array(5)), net.const(np.array([-1, 7]))], (INT64,))
    net.op(
        "MaxUnpool",
        [net.x(2, 3, 2, 2), net.const(np.arange(24).reshape(2, 3, 2, 2) * 4 + 1)],
        kernel_shape=[2, 2],
        strides=[2, 2],
    )


def ordering(net: Net) -> None:
    x = net.ints(4, 3, 4, 15, type_=INT32)
    for axis in (0, 1, -1):
        for largest in (0, 1):
            net.op("TopK", [x, net.const(np.array([2]))], (INT32, INT64), axis=axis, largest=largest)
    net.op("TopK", [net.x(3, 40), net.const(np.array([40]))], (TensorProto.FLOAT, INT64))
    for op_type in ("ArgMax", "ArgMin"):
        for axis, keepdims, last in ((0, 1, 1), (-1, 0, 0)):
            net.op(op_type, [x], (INT64,), axis=axis, keepdims=keepdims, select_last_index=last)
    net.op("Hardmax", [net.x(3, 4, 5)], axis=1)
    for exclusive, reverse, axis in ((0, 0, 0), (0, 1, 1), (1, 0, -1)):
        net.op("CumSum", [net.x(3, 4, 5), net.const(np.array(axis))], exclusive=exclusive, reverse=reverse)
    for upper, k in ((0, -1), (1, 1)):
        net.op("Trilu", [net.x(3, 4, 5), net.const(np.array(k))], upper=upper)


def arithmetic(net: Net) -> None:
    x, unit, large = net.x(3, 4, 5), net.unit(3, 4, 5), net.large(3, 4, 5)
    for op_type in ("Asinh", "Atan", "Cosh", "Sinh", "Tan", "ThresholdedRelu", "Shrink", "Celu"):
        net.op(op_type, [x])
    for op_type in ("Acos", "Asin", "Atanh"):
        net.op(op_type, [unit])
    net.op("Acosh", [large])
    net.op("Celu", [x], alpha=0.7)
    net.op("Shrink", [x], lambd=0.3, bias=0.1)
    net.op("ThresholdedRelu", [x], alpha=0.4)
    net.op("Mean", [x, net.x(4, 1), net.x(5)])
    net.op("CastLike", [net.ints(9, 3, 4), x])
    net.nodes += [
        node("Relu", [x], ["floor"]),
        node("Reciprocal", ["floor"], ["some_inf"]),
        node("Log", [x], ["some_nan"]),
    ]
    net.op("IsInf", ["some_inf"], (BOOL,))
    net.op("IsNaN", ["some_nan"], (BOOL,))
    net.nodes.append(node("Greater", [x, net.const(f32(0))], ["positive"]))
    net.op("Xor", ["positive", net.const(np.array([True, False, True, False, True]))], (BOOL,))
    bytes_ = net.given("bytes", (3, 4), UINT8)
    for direction in ("LEFT", "RIGHT"):
        net.op("BitShift", [bytes_, net.const(np.array([0, 1, 3, 7], np.uint8))], (UINT8,), direction=direction)
    net.op("Mod", [x, unit], fmod=1)


def reductions(net: Net) -> None:
    x, large = net.x(3, 4, 5), net.large(3, 4, 5)
    for axes, keepdims in (([1], 1), ([0, 2], 0)):
        net.op("ReduceLogSumExp", [x], axes=axes, keepdims=keepdims)
        net.op("ReduceLogSum", [large], axes=axes, keepdims=keepdims)
    net.op("ReduceLogSumExp", [x])
    image = net.x(2, 4, 6, 6)
    net.op("MeanVarianceNormalization", [image], axes=[0, 2, 3])
    for p in (1, 2, 3):
        net.op("GlobalLpPool", [image], p=p)
    net.op("LpPool", [image], kernel_shape=[2, 3], pads=[1, 1, 1, 1], strides=[2, 1], p=2)
    net.op("Einsum", [net.ints(4, 3, 4), net.ints(4, 4, 5)], (INT64,), equation="ij,jk->ik")
    bytes_, weights = (
        net.given("bytes", (3, 300), UINT8),
        np.random.default_rng(1).integers(-128, 128, (300, 5), np.int8),
    )
    zeros = [net.const(np.uint8(3)), net.const(np.int8(1))]
    net.op("MatMulInteger", [bytes_, net.const(weights), *zeros], (INT32,))  # sums that float32 may not have


def quantized(net: Net) -> None:
    """Before Round there are no other operators for them."""
    x, scale, zero = net.x(3, 4, 5), net.const(f32(0.1)), net.const(np.uint8(3))
    net.op("QuantizeLinear", [x, scale, zero], (UINT8,))
    net.op("QuantizeLinear", [x, scale], (UINT8,))
    net.op("DequantizeLinear", [net.given("bytes", (3, 4), UINT8), scale, zero])


def refused_by_rules(net: Net) -> None:
    """Operators that a rule knows, in forms it does not."""
    volume, rng = net.x(1, 4, 6, 6, 6), np.random.default_rng(0)
    weight = net.const(rng.standard_normal((2, 4, 3, 3, 3)).astype(f32))
    groups = [volume, net.const(rng.standard_normal((2, 2, 3, 3, 3)).astype(f32)), net.const(np.array([1, -1], f32))]
    net.op("Conv", groups, pads=[1, 0, 1, 1, 0, 1], strides=[2, 1, 2], group=2)
    net.nodes.append(node("Conv", [volume, weight], ["conv_before"], auto_pad="SAME_UPPER"))
    net.tested.append(net.nodes[-1].name)
    net.nodes.append(node("Relu", ["conv_before"], ["conv_behind"]))
    net.outputs.append("conv_behind")
    net.op("MaxPool", [volume], kernel_shape=[3, 3, 3], pads=[1] * 6, strides=[2, 1, 2])
    net.op("AveragePool", [volume], kernel_shape=[3, 2, 3], pads=[1, 0, 1, 1, 0, 1], count_include_pad=1)
    net.op("Pad", [net.x(3, 4, 5), net.const(np.array([0, 1, 2, 0, 1, 1]))], mode="reflect")
    net.op("Pad", [net.x(3, 4, 5), net.const(np.array([0, 0, 0, 0, 2, 1]))], mode="edge")
    net.op("MatMul", [net.ints(4, 4), net.ints(4, 4, 5)], (INT64,))
    net.op("Conv", [net.x(1, 4, 6, 6), net.x(2, 4, 3, 3)])
    factors = [net.const(rng.standard_normal((4, 5)).astype(f32)) for _ in range(2)]
    net.op("LayerNormalization", [net.x(3, 4, 5), *factors], axis=1, epsilon=0.01)
    wide = net.given("wide", (4, 5), DOUBLE)
    net.op("Gemm", [wide, net.const(rng.standard_normal((5, 3))), net.const(np.array(0.5))], (DOUBLE,))
    for op_type in ("Softmax", "LogSoftmax"):
        net.op(op_type, [wide], (DOUBLE,), axis=0)
    weight = net.const(rng.standard_normal((4, 3, 2, 2, 2)).astype(f32))
    net.op("ConvTranspose", [volume, weight], strides=[3, 2, 2])


def recent(net: Net) -> None:
    x = net.x(3, 4, 5)
    net.op("Swish", [x], alpha=0.7)
    numbers = net.ints(9, 3, 4)
    for op_type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        net.op(op_type, [numbers, net.const(np.array([1, 2, 6, -5]))], (INT64,))
    net.op("BitwiseNot", [numbers], (INT64,))
    for reduction in ("add", "mul", "min", "max"):
        net.op("ScatterElements", [x, net.ints(3, 3, 2, 5), net.x(3, 2, 5)], axis=1, reduction=reduction)
        net.op("ScatterND", [x, net.ints(3, 4, 2), net.x(4, 5)], reduction=reduction)
    image = net.x(2, 2, 6, 7)
    for mode, padding, corners in (("linear", "zeros", 0), ("nearest", "reflection", 1), ("cubic", "border", 0)):
        grid = net.unit(2, 3, 4, 2)
        net.op("GridSample", [image, grid], mode=mode, padding_mode=padding, align_corners=corners)
    net.op("AffineGrid", [net.x(2, 2, 3), net.const(np.array([2, 2, 4, 5]))], align_corners=1)
    net.op("RMSNormalization", [x, net.const(np.arange(20, dtype=f32).reshape(4, 5))], axis=1, epsilon=0.1)


def old(net: Net) -> None:
    net.op("Scatter", [net.x(3, 4, 5), net.const(np.array([[[1], [0]]])), net.x(1, 2, 1)], axis=1)
    net.op("TopK", [net.x(3, 9), net.const(np.array([4]))], (TensorProto.FLOAT, INT64))
    net.op("Hardmax", [net.x(3, 4, 5)], axis=1)
    for op_type in ("Softmax", "LogSoftmax"):
        net.op(op_type, [net.given("wide", (3, 4, 5), DOUBLE)], (DOUBLE,), axis=1)


NETS: dict[int, tuple[Callable[[Net], None], ...]] = {
    10: (old, quantized),
    17: (indexing, ordering, arithmetic, reductions, refused_by_rules),
    24: (recent,),
}


@cache
def net(opset: int) -> Net:
    grown = Net(opset)
    for grow in NETS[opset]:
        grow(grown)
    return grown
