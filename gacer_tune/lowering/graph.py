"""The model as lowering sees it: nodes with plain attributes, values with static shapes, constants as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.nodes import label, op_name, opset_of

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """`inputs` keeps the empty names of optional inputs that were left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def given(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] != ""

    def axis(self, rank: int, default: int = 0) -> int:
        """The attribute `axis`, counted from the front."""
        return int(self.attributes.get("axis", default)) % rank


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order. Every value in `shapes` and `dtypes` is static."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    constants: dict[str, Array]
    opset: int

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        """For each value the numbers of the nodes that read it."""
        found: dict[str, list[int]] = {}
        for number, node in enumerate(self.nodes):
            for name in dict.fromkeys(node.inputs):
                if name:
                    found.setdefault(name, []).append(number)
        return found

    @cached_property
    def makers(self) -> dict[str, int]:
        """For each value that a node makes the number of that node."""
        return {name: number for number, node in enumerate(self.nodes) for name in node.outputs if name}

    def ints(self, node: Node, attribute: str, index: int) -> list[int] | None:
        """A list given as attribute (older opsets) or as constant input `index`; UserError when it is computed."""
        if attribute in node.attributes:
            return [int(i) for i in node.attributes[attribute]]
        if not node.given(index):
            return None
        return [int(i) for i in self.constant(node, index).reshape(-1)]

    def constant(self, node: Node, index: int) -> Array:
        name = node.inputs[index]
        if name not in self.constants:
            raise UserError(f"{node.name}: {node.op} with a computed {name}: only a constant one is supported")
        return self.constants[name]


def read_graph(model: onnx.ModelProto) -> Graph:
    """Read a model that the frontend has made canonical. Raises UserError for a value without a static shape."""
    graph = model.graph
    constants = {tensor.name: np.asarray(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    shapes: dict[str, Shape] = {name: array.shape for name, array in constants.items()}
    dtypes: dict[str, str] = {name: str(array.dtype) for name, array in constants.items()}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
        dtypes[value.name] = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    nodes = tuple(_node(node) for node in graph.node)
    for node in nodes:
        for name in node.outputs:
            if name and name not in shapes:
                raise UserError(f"{node.name}: the shape of {name} is not known")
    inputs = tuple(value.name for value in graph.input if value.name not in constants)
    outputs = tuple(value.name for value in graph.output)
    return Graph(nodes, inputs, outputs, shapes, dtypes, constants, opset_of(model))


def _node(node: onnx.NodeProto) -> Node:
    attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    return Node(op_name(node), label(node), tuple(node.input), tuple(node.output), attributes)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
