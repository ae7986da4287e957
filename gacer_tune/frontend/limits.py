"""How large a model may be. Above these limits a file is refused before anything is allocated for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import onnx
from onnx import TensorProto, helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.nodes import label, subgraphs

MAX_TOTAL_NBYTES = 8 * 2**30
MAX_FILE_NBYTES = 2 * 2**30 - 1  # protobuf cannot parse more
MAX_NODES = 100_000
MAX_TENSORS = 100_000
MAX_DEPTH = 16
MAX_DIM = 2**31
MAX_ELEMENTS = 2**33

_SUB_BYTE_BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}


def check_dims(where: str, dims: Sequence[int]) -> None:
    """Refuse a shape with a negative dimension or more elements than any machine holds. A dimension of 0 passes."""
    text = "x".join(str(dim) for dim in dims)
    for dim in dims:
        if dim < 0:
            raise UserError(f"{where}: shape {text} has a negative dimension")
        if dim > MAX_DIM:
            raise UserError(f"{where}: shape {text} has dimension {dim}, at most {MAX_DIM}")
    if math.prod(dims) > MAX_ELEMENTS:
        raise UserError(f"{where}: shape {text} has {math.prod(dims)} elements, at most {MAX_ELEMENTS}")


def expected_nbytes(tensor: TensorProto) -> int | None:
    """Size of the tensor as raw data; None for text, which has no fixed size."""
    if tensor.data_type == TensorProto.STRING:
        return None
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise UserError(f"tensor {tensor.name!r}: unknown data type {tensor.data_type}")
    count = math.prod(tensor.dims)
    bits = _SUB_BYTE_BITS.get(TensorProto.DataType.Name(tensor.data_type))
    if bits is not None:
        return int(-(-count * bits // 8))
    return int(count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def check_size(graph: onnx.GraphProto) -> None:
    """Refuse a graph with too many nodes or tensors, too deep subgraphs, or a tensor with an impossible shape."""
    nodes = sum(1 for _ in all_nodes(graph))
    if nodes > MAX_NODES:
        raise UserError(f"the model has {nodes} nodes, at most {MAX_NODES}")
    tensors = 0
    for tensor in all_tensors(graph):
        tensors += 1
        check_dims(f"tensor {tensor.name!r}", tensor.dims)
    if tensors > MAX_TENSORS:
        raise UserError(f"the model has {tensors} constant tensors, at most {MAX_TENSORS}")


def check_data(graph: onnx.GraphProto) -> None:
    """Refuse a constant whose data does not have the size its shape and type say."""
    for tensor in all_tensors(graph):
        nbytes = expected_nbytes(tensor)
        if nbytes is not None and tensor.HasField("raw_data") and len(tensor.raw_data) != nbytes:
            raise UserError(
                f"tensor {tensor.name!r}: {len(tensor.raw_data)} bytes of data, its shape and type need {nbytes}"
            )
        if not tensor.HasField("raw_data"):
            _check_typed_data(tensor)


def _check_typed_data(tensor: TensorProto) -> None:
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    found = sum(len(getattr(tensor, field)) for field in fields)
    count = math.prod(tensor.dims)
    name = TensorProto.DataType.Name(tensor.data_type)
    if name in _SUB_BYTE_BITS:
        count = -(-count * _SUB_BYTE_BITS[name] // 8)
    if name.startswith("COMPLEX"):
        count *= 2
    if found != count:
        raise UserError(f"tensor {tensor.name!r}: {found} values of data, its shape and type need {count}")


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of the graph and its subgraphs."""
    for inner in all_graphs(graph):
        yield from inner.node


def all_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every dense constant of the graph and its subgraphs, in initializers and in attributes."""
    for inner in all_graphs(graph):
        yield from inner.initializer
        yield from node_tensors(inner.node)


def node_tensors(nodes: Sequence[onnx.NodeProto]) -> Iterator[TensorProto]:
    """Dense constants in the attributes of these nodes (not of their subgraphs)."""
    for node in nodes:
        for item in node.attribute:
            if item.HasField("t"):
                yield item.t
            yield from item.tensors


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and all graphs inside it, outer ones first; nesting deeper than MAX_DEPTH is refused."""
    waiting = [(graph, 1)]
    while waiting:
        current, depth = waiting.pop()
        yield current
        for node in current.node:
            for inner in subgraphs(node):
                if depth == MAX_DEPTH:
                    raise UserError(f"node {label(node)!r}: graphs are nested more than {MAX_DEPTH} deep")
                waiting.append((inner, depth + 1))
