"""One ONNX model under construction: its nodes, its weights, and what is known of every value.

Methods return the name of the value they add. Beside its shape, the graph keeps an estimate of each value's second
moment E[x^2]. Layers scale their weights by it (He's rule, without assuming that the input went through a ReLU), so
activations stay of order one however deep the model is, and a BatchNormalization's statistics fit what it receives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

Attributes = Mapping[str, int | float | Sequence[int]]
NO_ATTRIBUTES: Attributes = {}

# Drawing normal numbers costs more than all else in a big model, so a tensor larger than this repeats them. The length
# is prime, so that the rows of a matrix differ.
NORMALS_PER_TENSOR = 4_194_301


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of independent numbers from N(0, deviation^2), not drawn yet."""

    name: str
    shape: tuple[int, ...]
    deviation: float


def draw(weight: Weight, key: tuple[int, int]) -> bytes:
    """The numbers as little-endian float32; `key` seeds them. Beyond NORMALS_PER_TENSOR they repeat."""
    count = math.prod(weight.shape)
    drawn = min(count, NORMALS_PER_TENSOR)
    numbers = np.random.Generator(np.random.SFC64(key)).standard_normal(drawn, dtype=np.float32)
    numbers *= np.float32(weight.deviation)
    raw = numbers.astype("<f4", copy=False).tobytes()
    whole, rest = divmod(count, drawn)
    return raw if whole == 1 and not rest else b"".join([raw] * whole + [raw[: 4 * rest]])


class Graph:
    """`seed` decides every weight; `width` scales the published channel counts (see `channels`)."""

    def __init__(self, name: str, seed: int, width: float = 1.0) -> None:
        self.name = name
        self.random = np.random.default_rng(seed)
        self._seed = seed
        self._width = width
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._moments: dict[str, float] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[Weight] = []
        self._constants: dict[str, npt.NDArray[np.generic]] = {}
        self._names: dict[str, int] = {}

    def channels(self, published: int) -> int:
        """The published number at width 1, else scaled and rounded to a positive multiple of four."""
        return published if self._width == 1.0 else max(4, round(published * self._width / 4) * 4)

    def shape(self, value: str) -> tuple[int, ...]:
        return self._shapes[value]

    def moment(self, value: str) -> float:
        """Estimated E[x^2]."""
        return self._moments[value]

    def input(self, name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> str:
        """A model input; float inputs are expected to have mean 0 and deviation 1."""
        if min(shape) < 1:
            raise ValueError(f"{self.name}.{name}: shape {shape}, every dimension must be at least 1")
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        self._shapes[name], self._moments[name] = shape, 1.0
        return name

    def image(self, batch: int, resolution: int) -> str:
        """The model input `input`: (batch, 3, resolution, resolution)."""
        return self.input("input", (batch, 3, resolution, resolution))

    def weight(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        self._weights.append(Weight(name, shape, deviation))
        self._shapes[name], self._moments[name] = shape, deviation**2
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        array = np.asarray(value, dtype=dtype)
        self._constants[name] = array
        self._shapes[name], self._moments[name] = array.shape, float(np.mean(np.square(array, dtype=np.float64)))
        return name

    def bias(self, name: str, length: int) -> str:
        return self.constant(name, 0.05 * self.random.standard_normal(length))

    def fresh(self, kind: str) -> str:
        """A name for the next node of this kind: conv_0, conv_1, ..."""
        index = self._names.get(kind, 0)
        self._names[kind] = index + 1
        return f"{kind.lower()}_{index}"

    def op(
        self,
        kind: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        *,
        attributes: Attributes = NO_ATTRIBUTES,
        name: str = "",
        moment: float = 1.0,
    ) -> str:
        """Adds a node with one output, called `name` (from `fresh`) or afresh; the caller vouches for the shape."""
        name = name or self.fresh(kind)
        node = helper.make_node(kind, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        self._shapes[name], self._moments[name] = shape, moment
        return name

    def split(self, x: str, parts: int, axis: int) -> tuple[str, ...]:
        """`parts` equal pieces; ValueError when they cannot be equal."""
        size = self.shape(x)[axis]
        if size % parts:
            raise ValueError(f"{self.name}.{x}: {size} channels cannot be split into {parts} equal parts")
        name = self.fresh("Split")
        outputs = tuple(f"{name}.{part}" for part in range(parts))
        sizes = self.constant(f"{name}.sizes", [size // parts] * parts, np.int64)
        self._nodes.append(helper.make_node("Split", [x, sizes], outputs, name=name, axis=axis))
        shape = (*self.shape(x)[:axis], size // parts, *self.shape(x)[axis + 1 :])
        self._shapes.update(dict.fromkeys(outputs, shape))
        self._moments.update(dict.fromkeys(outputs, self.moment(x)))
        return outputs

    def model(self, outputs: Mapping[str, str]) -> onnx.ModelProto:
        """Draws the weights. `outputs` maps the public name of each output to a float value that a node computes."""
        public = {value: name for name, value in outputs.items()}
        model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="gacer-tune")
        model.opset_import.add(domain="", version=OPSET)
        model.graph.name = self.name
        model.graph.input.extend(self._inputs)
        for name, value in outputs.items():
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(value))
            model.graph.output.append(info)
        for node in self._nodes:
            copy = model.graph.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [public.get(value, value) for value in node.input]
            copy.output[:] = [public.get(value, value) for value in node.output]
        self._write_tensors(model.graph)
        return model

    def _write_tensors(self, graph: onnx.GraphProto) -> None:
        # Straight into the model: helper.make_graph and make_model would each copy every byte once more.
        for index, weight in enumerate(self._weights):
            raw = draw(weight, (self._seed, index))
            graph.initializer.add(name=weight.name, dims=weight.shape, data_type=TensorProto.FLOAT, raw_data=raw)
        for name, array in self._constants.items():
            graph.initializer.append(numpy_helper.from_array(array, name))
