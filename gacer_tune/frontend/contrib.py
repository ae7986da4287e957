"""Operators that ONNX Runtime's optimizers and exporters write (domain com.microsoft), spelt in those of ai.onnx.

This happens as soon as a model is read, when shapes may still be symbolic: what follows from a shape is computed from
it by operators, which are folded once it is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from gacer_tune.errors import UserError
from gacer_tune.frontend import contrib_attention, contrib_norms, contrib_products, contrib_quantized
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.contrib_node import Given
from gacer_tune.frontend.graph import Graph, Uses
from gacer_tune.frontend.nodes import label

DOMAIN = "com.microsoft"
_NORMS_SINCE = 17  # opset from which LayerNormalization is one of ai.onnx


@dataclass(frozen=True, slots=True)
class Operator:
    """spell: names of the outputs it makes, "" for those it cannot; required: numbers of the inputs that must be given.

    Inputs beyond `most` and attributes that are not named here are refused.
    """

    spell: Callable[[Given], Sequence[str]]
    required: tuple[int, ...]
    most: int
    attributes: tuple[str, ...] = ()


_PRODUCTS = ("Conv", "Gemm", "MatMul")
_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides", "activation", "activation_params")
_FACTORS = ("alpha", "beta", "transA", "transB")
_ACTIVATION = ("activation", "activation_alpha", "activation_beta", "activation_gamma")
_TRANSPOSED = ("alpha", "transA", "transB", "transBatchA", "transBatchB")
_HEADS = ("num_heads", "scale", "mask_filter_value", "unidirectional")
_PACKED = ("qkv_hidden_sizes", "do_rotary", "rotary_embedding_dim", "past_present_share_buffer")
_NORM = ("axis", "epsilon", "stash_type")

_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides", "channels_last")
_PAIR = (0, 1, 3, 4, 6)  # two values and the result: each has a scale
_MANY = 10_000

OPERATORS: dict[str, Operator] = {
    "Attention": Operator(contrib_attention.packed, (0, 1), 6, _HEADS + _PACKED),
    "BiasGelu": Operator(contrib_products.gelu, (0, 1), 2),
    "DequantizeLinear": Operator(contrib_quantized.dequantize, (0, 1), 3, ("axis",)),
    "DynamicQuantizeMatMul": Operator(contrib_quantized.dynamic_matmul, (0, 1, 2), 5),
    "EmbedLayerNormalization": Operator(contrib_norms.embedded, (0, 2, 3, 5, 6), 9, ("epsilon", "mask_index_type")),
    "FastGelu": Operator(contrib_products.fast_gelu, (0,), 2),
    "FusedConv": Operator(contrib_products.conv, (0, 1), 4, _CONV),
    "FusedGemm": Operator(contrib_products.gemm, (0, 1), 3, _FACTORS + _ACTIVATION),
    "FusedMatMul": Operator(contrib_products.matmul, (0, 1), 2, _TRANSPOSED),
    "Gelu": Operator(contrib_products.gelu, (0,), 1),
    "MatMulIntegerToFloat": Operator(contrib_quantized.integer_matmul, (0, 1, 2, 3), 7),
    "MultiHeadAttention": Operator(contrib_attention.heads, (0, 1, 2), 8, _HEADS),
    "QGemm": Operator(contrib_quantized.gemm, (0, 1, 3, 4), 9, ("alpha", "transA", "transB")),
    "QLinearAdd": Operator(contrib_quantized.add, _PAIR, 8),
    "QLinearAveragePool": Operator(contrib_quantized.unary, (0, 1, 3), 5, _POOL),
    "QLinearConcat": Operator(contrib_quantized.concat, (0, 2), _MANY, ("axis",)),
    "QLinearGlobalAveragePool": Operator(contrib_quantized.unary, (0, 1, 3), 5, ("channels_last",)),
    "QLinearLeakyRelu": Operator(contrib_quantized.unary, (0, 1, 3), 5, ("alpha",)),
    "QLinearMul": Operator(contrib_quantized.mul, _PAIR, 8),
    "QLinearSigmoid": Operator(contrib_quantized.unary, (0, 1, 3), 5),
    "QuantizeLinear": Operator(contrib_quantized.quantize, (0, 1), 3, ("axis",)),
    "QuickGelu": Operator(contrib_products.quick_gelu, (0,), 1, ("alpha",)),
    "SkipLayerNormalization": Operator(contrib_norms.skipped, (0, 1, 2), 5, ("epsilon",)),
    "SkipSimplifiedLayerNormalization": Operator(contrib_norms.skipped_simplified, (0, 1, 2), 4, ("epsilon",)),
    "TransposeMatMul": Operator(contrib_products.matmul, (0, 1), 2, _TRANSPOSED),
}
# Those that ONNX Runtime writes as if they were of ai.onnx.
UNMARKED: dict[str, Operator] = {
    "LayerNormalization": Operator(contrib_norms.layer_norm, (0, 1), 3, _NORM),
    "SimplifiedLayerNormalization": Operator(contrib_norms.simplified, (0, 1), 2, _NORM),
}


def spell_out(model: onnx.ModelProto) -> None:
    """Replace all such operators of the graph, in place; raises UserError that names a node that cannot be spelt."""
    graph = Graph.of(model)
    if not any(_operator(node, graph.opset) for node in graph.nodes):
        return
    uses, known, nodes = Uses.of(graph), _ranks(graph), []
    for node in graph.nodes:
        operator = _operator(node, graph.opset)
        if operator is None:
            nodes.append(node)
            continue
        emit = Emitter(uses, label(node))
        nodes += _spelt(operator, Given(node, emit, known))
        model.graph.initializer.extend(emit.constants)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _operator(node: onnx.NodeProto, opset: int) -> Operator | None:
    if node.domain == DOMAIN:
        return OPERATORS.get(node.op_type)
    if node.domain or (node.op_type == "LayerNormalization" and opset >= _NORMS_SINCE):
        return None
    return UNMARKED.get(node.op_type)


def _ranks(graph: Graph) -> dict[str, int]:
    """Of the values whose rank is declared or follows from the inputs without passing one of these operators."""
    try:
        model = onnx.shape_inference.infer_shapes(graph.skeleton())
    except onnx.shape_inference.InferenceError:
        model = graph.skeleton()
    found = {name: len(known.shape) for name, known in graph.types.items()}
    for item in (*model.graph.input, *model.graph.value_info):
        if item.type.tensor_type.HasField("shape"):
            found[item.name] = len(item.type.tensor_type.shape.dim)
    return found


def _spelt(operator: Operator, given: Given) -> list[onnx.NodeProto]:
    """The nodes that make what the node does."""
    _check(operator, given)
    try:
        made = operator.spell(given)
    except TypeError as error:  # an attribute of another type
        raise UserError(str(error)) from None
    products = [one for one in given.emit.nodes if one.op_type in _PRODUCTS]
    if len(products) == 1 and given.node.name:  # it is found under the name that ONNX Runtime has for it
        products[0].name = given.node.name
    for number, output in enumerate(given.node.output):
        if not output:
            continue
        if number >= len(made) or not made[number]:
            raise UserError(f"{given.where}: its output {number + 1}, {output!r}, is not supported")
        given.emit.give(made[number], output)
    return given.emit.nodes


def _check(operator: Operator, given: Given) -> None:
    """Refuse what is missing, and what is not known."""
    for number in operator.required:
        if not given.has(number):
            raise UserError(f"{given.where}: its input {number + 1} is missing")
    for number in range(operator.most, len(given.node.input)):
        if given.has(number):
            raise UserError(f"{given.where}: its input {number + 1}, {given.node.input[number]!r}, is not supported")
    for item in given.node.attribute:
        if item.name not in operator.attributes:
            raise UserError(f"{given.where}: the attribute {item.name} is not supported")
