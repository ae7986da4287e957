"""The layers that models are built of. Each method adds nodes and their weights and returns the name of its output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.graph import Attributes, Graph

# E[f(x)^2] for x ~ N(0, 1). HardSwish and Silu (0.332 and 0.356) stand a little higher: they pass a larger share of
# larger values, so a chain of them would blow up a small excess.
ACTIVATION_MOMENT = {
    "Relu": 0.5,
    "Relu6": 0.5,
    "LeakyRelu": 0.505,
    "HardSwish": 0.355,
    "Silu": 0.37,
    "HardSigmoid": 0.278,
    "Sigmoid": 0.294,
    "Tanh": 0.394,
}
ACTIVATION_ATTRIBUTES: dict[str, Attributes] = {"LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {"alpha": 1 / 6}}


@dataclass(frozen=True, slots=True)
class Window:
    """What a convolution or a pool slides over the image, rows before columns.

    `pad` is None for half the kernel (an odd kernel then keeps the size at stride 1), one number for all four sides, or
    (top, left, bottom, right). `ceil` makes a pool keep the last incomplete window.
    """

    kernel: int | tuple[int, int]
    stride: int = 1
    pad: int | tuple[int, int, int, int] | None = None
    ceil: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        return self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        if isinstance(self.pad, tuple):
            return self.pad
        rows, columns = (side // 2 if self.pad is None else self.pad for side in self.sides)
        return rows, columns, rows, columns

    @property
    def attributes(self) -> Attributes:
        return {"kernel_shape": list(self.sides), "strides": [self.stride] * 2, "pads": list(self.pads)}

    def positions(self, image: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of the result for an image (..., rows, columns); ValueError when the window does not fit."""
        top, left, bottom, right = self.pads
        free = (image[-2] + top + bottom - self.sides[0], image[-1] + left + right - self.sides[1])
        if min(free) < 0:
            raise ValueError(f"image of {image[-2]} x {image[-1]}, at least the window {self.sides} is needed")
        rounding = self.stride - 1 if self.ceil else 0
        return (free[0] + rounding) // self.stride + 1, (free[1] + rounding) // self.stride + 1


class Builder(Graph):
    """Layers of images are (batch, channels, rows, columns)."""

    def conv(self, x: str, channels: int, window: Window, groups: int = 1, *, bias: bool = True) -> str:
        """Convolution whose output has second moment 1."""
        batch, depth = self.shape(x)[:2]
        name = self.fresh("Conv")
        shape = (channels, depth // groups, *window.sides)
        inputs = [x, self.weight(f"{name}.weight", shape, (math.prod(shape[1:]) * self.moment(x)) ** -0.5)]
        if bias:
            inputs.append(self.bias(f"{name}.bias", channels))
        result = (batch, channels, *window.positions(self.shape(x)))
        return self.op("Conv", inputs, result, attributes={**window.attributes, "group": groups}, name=name)

    def upsample_conv(self, x: str, channels: int) -> str:
        """ConvTranspose that doubles rows and columns: kernel 2, stride 2."""
        batch, depth, rows, columns = self.shape(x)
        name = self.fresh("ConvTranspose")
        weight = self.weight(f"{name}.weight", (depth, channels, 2, 2), (depth * self.moment(x)) ** -0.5)
        inputs = [x, weight, self.bias(f"{name}.bias", channels)]
        result = (batch, channels, 2 * rows, 2 * columns)
        return self.op("ConvTranspose", inputs, result, attributes=Window(2, 2, 0).attributes, name=name)

    def batch_norm(self, x: str, epsilon: float = 1e-5) -> str:
        """BatchNormalization with the statistics of a trained layer: each channel a little off in mean and in scale."""
        depth, random, variance = self.shape(x)[1], self.random, self.moment(x)
        name = self.fresh("BatchNormalization")
        inputs = [
            x,
            self.constant(f"{name}.weight", random.uniform(0.7, 1.3, depth)),
            self.constant(f"{name}.bias", 0.1 * random.standard_normal(depth)),
            self.constant(f"{name}.running_mean", 0.1 * variance**0.5 * random.standard_normal(depth)),
            self.constant(f"{name}.running_var", variance * random.uniform(0.7, 1.4, depth)),
        ]
        return self.op("BatchNormalization", inputs, self.shape(x), attributes={"epsilon": epsilon}, name=name)

    def conv_norm(self, x: str, channels: int, window: Window, groups: int = 1) -> str:
        return self.batch_norm(self.conv(x, channels, window, groups, bias=False))

    def conv_norm_relu(self, x: str, channels: int, window: Window) -> str:
        return self.relu(self.conv_norm(x, channels, window))

    def max_pool(self, x: str, window: Window) -> str:
        shape = (*self.shape(x)[:2], *window.positions(self.shape(x)))
        attributes = {**window.attributes, "ceil_mode": int(window.ceil)}
        return self.op("MaxPool", [x], shape, attributes=attributes, moment=2 * self.moment(x))

    def average_pool(self, x: str, window: Window) -> str:
        """Padding counts as zeros, PyTorch's default."""
        shape = (*self.shape(x)[:2], *window.positions(self.shape(x)))
        attributes = {**window.attributes, "ceil_mode": int(window.ceil), "count_include_pad": 1}
        return self.op("AveragePool", [x], shape, attributes=attributes, moment=0.6 * self.moment(x))

    def global_average_pool(self, x: str) -> str:
        # What is left of a ReLU's output is its squared mean, 1 / pi of the second moment, and a bit of variance.
        return self.op("GlobalAveragePool", [x], (*self.shape(x)[:2], 1, 1), moment=0.4 * self.moment(x))

    def linear(self, x: str, features: int) -> str:
        """Gemm on (rows, depth), its weight stored (features, depth) as PyTorch does."""
        rows, depth = self.shape(x)
        name = self.fresh("Gemm")
        weight = self.weight(f"{name}.weight", (features, depth), (depth * self.moment(x)) ** -0.5)
        inputs = [x, weight, self.bias(f"{name}.bias", features)]
        return self.op("Gemm", inputs, (rows, features), attributes={"transB": 1}, name=name)

    def classify(self, x: str, classes: int) -> str:
        """The usual end of an image classifier: global average pool, then logits."""
        return self.linear(self.flatten(self.global_average_pool(x)), classes)

    def activate(self, x: str, kind: str) -> str:
        """`kind` is a key of ACTIVATION_MOMENT; Silu and Relu6 become the nodes that PyTorch exports for them."""
        moment = ACTIVATION_MOMENT[kind] * self.moment(x)
        if kind == "Silu":
            return self.op("Mul", [x, self.activate(x, "Sigmoid")], self.shape(x), moment=moment)
        if kind == "Relu6":
            bounds = [self.constant("relu6.min", 0.0), self.constant("relu6.max", 6.0)]
            return self.op("Clip", [x, *bounds], self.shape(x), moment=moment)
        return self.op(kind, [x], self.shape(x), attributes=ACTIVATION_ATTRIBUTES.get(kind, {}), moment=moment)

    def relu(self, x: str) -> str:
        return self.activate(x, "Relu")

    def add(self, a: str, b: str) -> str:
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        return self.op("Add", [a, b], shape, moment=self.moment(a) + self.moment(b))

    def mul(self, a: str, b: str) -> str:
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        return self.op("Mul", [a, b], shape, moment=self.moment(a) * self.moment(b))

    def concat(self, values: Sequence[str], axis: int = 1) -> str:
        sizes = [self.shape(value)[axis] for value in values]
        first = self.shape(values[0])
        moment = sum(size * self.moment(value) for size, value in zip(sizes, values, strict=True)) / sum(sizes)
        shape = (*first[:axis], sum(sizes), *first[axis + 1 :])
        return self.op("Concat", values, shape, attributes={"axis": axis}, moment=moment)

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        name = self.fresh("Reshape")
        sizes = self.constant(f"{name}.shape", shape, np.int64)
        return self.op("Reshape", [x, sizes], shape, name=name, moment=self.moment(x))

    def flatten(self, x: str) -> str:
        batch, *rest = self.shape(x)
        return self.op("Flatten", [x], (batch, math.prod(rest)), attributes={"axis": 1}, moment=self.moment(x))

    def transpose(self, x: str, order: tuple[int, ...]) -> str:
        shape = tuple(self.shape(x)[axis] for axis in order)
        return self.op("Transpose", [x], shape, attributes={"perm": order}, moment=self.moment(x))

    def gather(self, table: str, indices: str, axis: int = 0) -> str:
        """`indices` replaces the dimension `axis` of `table` by its own dimensions."""
        shape = self.shape(table)
        result = (*shape[:axis], *self.shape(indices), *shape[axis + 1 :])
        return self.op("Gather", [table, indices], result, attributes={"axis": axis}, moment=self.moment(table))

    def matmul(self, a: str, b: str, moment: float = 1.0) -> str:
        left, right = self.shape(a), self.shape(b)
        batch = np.broadcast_shapes(left[:-2], right[:-2])
        return self.op("MatMul", [a, b], (*batch, left[-2], right[-1]), moment=moment)

    def softmax(self, x: str) -> str:
        """Over the last axis."""
        return self.op("Softmax", [x], self.shape(x), attributes={"axis": -1}, moment=self.shape(x)[-1] ** -2.0)

    def squeeze(self, x: str, axis: int) -> str:
        name = self.fresh("Squeeze")
        axes = self.constant(f"{name}.axes", [axis], np.int64)
        shape = (*self.shape(x)[:axis], *self.shape(x)[axis + 1 :])
        return self.op("Squeeze", [x, axes], shape, name=name, moment=self.moment(x))
