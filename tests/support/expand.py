"""The operators of the domain "gacer" back in operators of ai.onnx, so that other runtimes can run our models."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper


def expand_gacer(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which gacer.Gelu, Silu, HardSwish, LayerNorm and RmsNorm are spelt out; operator set 9 or later."""
    expanded = onnx.ModelProto()
    expanded.CopyFrom(model)
    opset = next(item.version for item in model.opset_import if item.domain == "")
    types = {item.name: item for item in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.domain != "gacer":
            nodes.append(node)
            continue
        element = types[node.output[0]].type.tensor_type.elem_type
        writer = _Writer(expanded.graph, nodes, node.output[0], helper.tensor_dtype_to_np_dtype(element))
        writers = {"Gelu": _gelu, "Silu": _silu, "HardSwish": _hardswish, "LayerNorm": _layernorm, "RmsNorm": _rmsnorm}
        writers[node.op_type](writer, node, opset)
    del expanded.graph.node[:]
    expanded.graph.node.extend(nodes)
    imports = [item for item in model.opset_import if item.domain != "gacer"]
    del expanded.opset_import[:]
    expanded.opset_import.extend(imports)
    return expanded


class _Writer:
    def __init__(self, graph: onnx.GraphProto, nodes: list[onnx.NodeProto], output: str, dtype: np.dtype) -> None:
        self.graph, self.nodes, self.output, self.dtype = graph, nodes, output, dtype

    def op(self, op_type: str, *inputs: str, last: bool = False, **attributes: object) -> str:
        name = self.output if last else f"{self.output}/expanded_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def number(self, value: float) -> str:
        name = f"{self.output}/number_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, self.dtype), name))
        return name

    def ints(self, values: list[int]) -> str:
        name = f"{self.output}/ints_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name


def _attribute(node: onnx.NodeProto, name: str) -> object:
    return next(helper.get_attribute_value(item) for item in node.attribute if item.name == name)


def _gelu(write: _Writer, node: onnx.NodeProto, _opset: int) -> None:
    x = node.input[0]
    if _attribute(node, "approximate") == b"tanh":
        cube = write.op("Mul", write.op("Mul", x, x), x)
        inner = write.op("Add", x, write.op("Mul", cube, write.number(0.044715)))
        function = write.op("Tanh", write.op("Mul", inner, write.number(math.sqrt(2 / math.pi))))
    else:
        function = write.op("Erf", write.op("Div", x, write.number(math.sqrt(2))))
    half = write.op("Mul", x, write.number(0.5))
    write.op("Mul", half, write.op("Add", function, write.number(1.0)), last=True)


def _silu(write: _Writer, node: onnx.NodeProto, _opset: int) -> None:
    write.op("Mul", node.input[0], write.op("Sigmoid", node.input[0]), last=True)


def _hardswish(write: _Writer, node: onnx.NodeProto, _opset: int) -> None:
    write.op("Mul", node.input[0], write.op("HardSigmoid", node.input[0], alpha=1 / 6, beta=0.5), last=True)


def _layernorm(write: _Writer, node: onnx.NodeProto, opset: int) -> None:
    x, scale, bias = node.input
    item = next(
        item
        for item in (*write.graph.input, *write.graph.value_info, *write.graph.output)
        if item.name == node.output[0]
    )
    axes = list(range(int(_attribute(node, "axis")), len(item.type.tensor_type.shape.dim)))
    mean = _mean(write, x, axes, opset)
    deviation = write.op("Sub", x, mean)
    variance = _mean(write, write.op("Mul", deviation, deviation), axes, opset)
    root = write.op("Sqrt", write.op("Add", variance, write.number(float(_attribute(node, "epsilon")))))
    write.op("Add", write.op("Mul", write.op("Div", deviation, root), scale), bias, last=True)


def _rmsnorm(write: _Writer, node: onnx.NodeProto, opset: int) -> None:
    x = node.input[0]
    mean = _mean(write, write.op("Mul", x, x), [-1], opset)
    root = write.op("Sqrt", write.op("Add", mean, write.number(float(_attribute(node, "epsilon")))))
    write.op("Div", x, root, last=True)


def _mean(write: _Writer, x: str, axes: list[int], opset: int) -> str:
    if opset < 18:
        return write.op("ReduceMean", x, axes=axes)
    return write.op("ReduceMean", x, write.ints(axes))
