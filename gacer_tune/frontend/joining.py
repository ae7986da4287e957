"""Products of one value with several constant matrices become one product, cut apart behind it.

    x W1 + b1, x W2 + b2, x W3 + b3  ->  split(x [W1 W2 W3] + [b1 b2 b3])

Query, key and value of an attention are such products. One of them reads x once and is waited for once, and a cut is a
view. Products that go on into elementwise operators stay apart: those are part of the product's kernel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from gacer_tune.frontend.graph import Graph, Replacement, TensorType, Uses, sweep
from gacer_tune.frontend.nodes import Array

# What may read a product that is cut out of a wider one.
_READERS = frozenset({"Reshape", "Transpose", "MatMul", "Slice", "Split", "Squeeze", "Unsqueeze"})
_SPLIT_BY_INPUT = 13  # from this opset on the lengths are an input


@dataclass(frozen=True, slots=True)
class Product:
    """x times a constant, with a constant added unless bias is None; output: the name of the sum or the product."""

    node: onnx.NodeProto
    weight: Array
    bias: Array | None
    output: str


def join_products(graph: Graph) -> None:
    """Join all such products, in place."""
    uses, readers = Uses.of(graph), _readers(graph)
    alike: defaultdict[tuple[str, bool], list[Product]] = defaultdict(list)
    for node in graph.nodes:
        product = _product(uses, readers, node)
        if product is not None:
            alike[node.input[0], product.bias is None].append(product)
    for products in alike.values():
        if len(products) > 1:
            _join(graph, uses, products)
    sweep(graph)


def _readers(graph: Graph) -> dict[str, list[onnx.NodeProto]]:
    found: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.input:
            found[name].append(node)
    return found


def _product(uses: Uses, readers: dict[str, list[onnx.NodeProto]], node: onnx.NodeProto) -> Product | None:
    if node.domain or node.op_type != "MatMul":
        return None
    weight, known = uses.array(node.input[1]), uses.types.get(node.output[0])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or known is None:
        return None
    output, bias = node.output[0], None
    behind = readers.get(output, [])
    if uses.readers.get(output) == 1 and behind and behind[0].op_type == "Add":
        added = next(name for name in behind[0].input if name != output)
        bias = uses.array(added)
        if bias is None or bias.shape not in (weight.shape[1:], (1, *weight.shape[1:])):
            return None
        output = behind[0].output[0]
    read = [reader.op_type for reader in readers.get(output, [])]
    if output in uses.outputs or not read or not _READERS.issuperset(read):
        return None
    return Product(node, weight, None if bias is None else bias.reshape(-1), output)


def _join(graph: Graph, uses: Uses, products: Sequence[Product]) -> None:
    """Put the joined product in the place of the first one."""
    made = _joined(graph, uses, products)
    graph.constants.update({item.name: item for item in made.constants})
    graph.types.update({item.name: TensorType(item.data_type, tuple(item.dims)) for item in made.constants})
    graph.types.update(made.types)
    gone = {name for product in products for name in (product.node.output[0], product.output)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node is products[0].node:
            nodes.extend(made.nodes)
        elif gone.isdisjoint(node.output):
            nodes.append(node)
    graph.nodes = nodes


def _joined(graph: Graph, uses: Uses, products: Sequence[Product]) -> Replacement:
    first, widths = products[0], [product.weight.shape[1] for product in products]
    base, known = f"{first.output}/joined", graph.types[first.output]
    wide = TensorType(known.element, (*known.shape[:-1], sum(widths)))
    weight = uses.constant(np.concatenate([product.weight for product in products], axis=1), f"{base}/weight")
    constants, value = [weight], uses.fresh(base)
    nodes = [helper.make_node("MatMul", [first.node.input[0], weight.name], [value], uses.fresh(f"{base}/MatMul"))]
    types = {value: wide}
    if first.bias is not None:
        biases = [product.bias for product in products if product.bias is not None]
        bias, total = uses.constant(np.concatenate(biases), f"{base}/bias"), uses.fresh(f"{base}/sum")
        nodes.append(helper.make_node("Add", [value, bias.name], [total], uses.fresh(f"{base}/Add")))
        constants.append(bias)
        types[total], value = wide, total
    inputs = [value]
    attributes: dict[str, Any] = {"axis": len(wide.shape) - 1}
    if graph.opset < _SPLIT_BY_INPUT:
        attributes["split"] = widths
    else:
        constants.append(uses.constant(np.asarray(widths, np.int64), f"{base}/widths"))
        inputs.append(constants[-1].name)
    outputs = [product.output for product in products]
    nodes.append(helper.make_node("Split", inputs, outputs, uses.fresh(f"{base}/Split"), **attributes))
    return Replacement(nodes, constants, types)
