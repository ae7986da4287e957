"""Readers and makers of ONNX nodes, shared by the whole frontend.

Fused operators are nodes of the domain "gacer", whatever opset the model imports, so that no opset has to be converted:

    gacer.Gelu(x)                   approximate="none" (erf) or "tanh", as ai.onnx Gelu of opset 20
    gacer.Silu(x)                   x * sigmoid(x)
    gacer.HardSwish(x)              x * clip(x / 6 + 1/2, 0, 1)
    gacer.LayerNorm(x, scale, bias) axis >= 0, epsilon; scale and bias have exactly the shape x.shape[axis:]
    gacer.RmsNorm(x)                epsilon; x / sqrt(mean of x * x + epsilon) over the last axis

Each has one output with the type and shape of x. Gelu, HardSwish, Swish, LayerNormalization and RMSNormalization of
ai.onnx become these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

GACER_DOMAIN = "gacer"

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")


def attribute(node: onnx.NodeProto, name: str, default: T) -> T:
    """The attribute's value (bytes as text), or `default`; TypeError if the two are of different types."""
    for candidate in node.attribute:
        if candidate.name != name:
            continue
        value = helper.get_attribute_value(candidate)
        if isinstance(value, bytes):
            value = value.decode()
        if default is not None and not isinstance(value, type(default)):
            raise TypeError(f"node {node.name!r}: attribute {name} is {type(value).__name__}")
        return value  # type: ignore[no-any-return]
    return default


def attribute_ints(node: onnx.NodeProto, name: str) -> tuple[int, ...] | None:
    """The attribute as a tuple of integers, None if the node does not have it."""
    values: Sequence[int] | None = attribute(node, name, None)
    return None if values is None else tuple(values)


def has_input(node: onnx.NodeProto, index: int) -> bool:
    """Whether the optional input is given."""
    return index < len(node.input) and node.input[index] != ""


def has_output(node: onnx.NodeProto, index: int) -> bool:
    """Whether the optional output is asked for."""
    return index < len(node.output) and node.output[index] != ""


def to_array(tensor: onnx.TensorProto) -> Array:
    """The tensor's value as numpy array."""
    return np.asarray(numpy_helper.to_array(tensor))


def to_tensor(array: Array, name: str) -> onnx.TensorProto:
    """A constant of that name and value."""
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the node's attributes (not the graphs inside those)."""
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def reads(node: onnx.NodeProto) -> set[str]:
    """Names of the values a node needs from its graph, those that its subgraphs capture included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= free_names(graph)
    return names


def free_names(graph: onnx.GraphProto) -> set[str]:
    """Names a subgraph takes from the graphs around it."""
    own = {item.name for item in graph.input} | {item.name for item in graph.initializer}
    wanted = {item.name for item in graph.output}
    for node in graph.node:
        wanted |= reads(node)
        own.update(node.output)
    return wanted - own


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the default operator set the model imports."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def op_name(node: onnx.NodeProto) -> str:
    """The operator as users and supporters name it: `Conv`, `gacer.Silu`."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def label(node: onnx.NodeProto) -> str:
    """How messages name a node: by its name, else by its first output."""
    return node.name or next((name for name in node.output if name), "?")
