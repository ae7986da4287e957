"""From a static model to a canonical one: few kinds of operators, each in one spelling.

onnxslim removes what is redundant; the rules here decide how the rest is spelt. Constant folding is ours as well:
onnxslim folds with ONNX Runtime, which need not be installed, and without limits.
"""

from __future__ import annotations

import contextlib
import io
import logging

import onnx

from gacer_tune.frontend.activations import name_activation, recognise_activation
from gacer_tune.frontend.affine import batchnorm_to_mul_add, fold_affine
from gacer_tune.frontend.attention import attention_to_products
from gacer_tune.frontend.einsum import einsum_to_products, vector_product
from gacer_tune.frontend.elementary import (
    cast_to_identity,
    dropout_to_identity,
    lp_normalization_to_quotient,
    remove_identities,
    sum_to_adds,
)
from gacer_tune.frontend.fold import fold_constants
from gacer_tune.frontend.gemm import normalise_gemm, unflatten_gemm
from gacer_tune.frontend.graph import Graph, rewrite, sweep
from gacer_tune.frontend.inference import infer_types
from gacer_tune.frontend.joining import join_products
from gacer_tune.frontend.layernorm import name_layernorm, recognise_layernorm
from gacer_tune.frontend.patches import col2im_to_transposed
from gacer_tune.frontend.quantized import (
    dequantize_to_product,
    dynamic_to_quantize,
    integer_product,
    pool_in_between,
    pool_of_bytes,
    quantize_to_rounding,
    quantized_product,
)
from gacer_tune.frontend.rmsnorm import name_rmsnorm, recognise_rmsnorm
from gacer_tune.frontend.rotary import rotary_to_products
from gacer_tune.frontend.structure import name_nodes
from gacer_tune.frontend.volumes import volume_to_images

# Patterns of onnxslim we do not want. Conv and Gemm followed by arithmetic: our own `fold_affine` minds the axis along
# which a constant is broadcast. FusionGemm puts a Gemm between two Reshapes where MatMul and Add fuse better.
_SKIPPED_PATTERNS = [
    *("FusionConvMul", "FusionConvTransposeMul", "FusionConvAdd", "FusionConvTransposeAdd"),
    *("FusionConvBN", "FusionConvTransposeBN", "FusionGemm", "FusionGemmMul", "FusionGemmAdd"),
]
_SKIPPED_OPTIMIZATIONS = ["constant_folding", "weight_tying"]

_SPELLING = (
    *(sum_to_adds, dropout_to_identity, cast_to_identity, lp_normalization_to_quotient),
    *(attention_to_products, rotary_to_products, col2im_to_transposed),
    pool_in_between,
    *(quantize_to_rounding, dequantize_to_product, dynamic_to_quantize, integer_product, quantized_product),
    pool_of_bytes,
)
_PRODUCTS = (normalise_gemm, unflatten_gemm, einsum_to_products, vector_product)
_NORMS = (name_layernorm, name_rmsnorm, recognise_layernorm, recognise_rmsnorm)
_FUSION = (name_activation, recognise_activation, *_NORMS, *_PRODUCTS, fold_affine)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that computes the same (up to rounding) with the same inputs and outputs in canonical form.

    The shapes of the inputs must be static. Afterwards: no Constant, Sum, BatchNormalization, Dropout of inference; no
    node of constants only; Gemm plain; activations and layer normalisation as gacer operators (see `nodes`).
    """
    graph = Graph.of(model)
    _clean(graph)
    graph = _slim(graph)
    canonicalise(graph)
    result = graph.to_model()
    name_nodes(result.graph)
    return result


def canonicalise(graph: Graph) -> None:
    """Our own part of `simplify`, in place."""
    _clean(graph)
    changed = True
    while changed:
        changed = rewrite(graph, _FUSION)
        # What found no Conv to disappear into is only spelt out when nothing else applies any more.
        changed |= rewrite(graph, (batchnorm_to_mul_add,))
        if changed:
            infer_types(graph)
    rewrite(graph, (volume_to_images,))
    fold_constants(graph)
    remove_identities(graph)
    join_products(graph)


def _clean(graph: Graph) -> None:
    rewrite(graph, _SPELLING)
    remove_identities(graph)
    fold_constants(graph)
    remove_identities(graph)


def _slim(graph: Graph) -> Graph:
    """The graph after onnxslim; unchanged if onnxslim lost, added or reordered an input or output.

    onnxslim copies what it is given several times, so it gets large constants as inputs without data.
    """
    model = graph.skeleton()
    slimmed = _slimmed(model)
    if _interface(slimmed) != _interface(model):
        return graph
    result = Graph.of(slimmed)
    bulk = {item.name for item in model.graph.input} & graph.constants.keys()
    result.inputs = [item for item in result.inputs if item.name not in bulk]
    result.constants |= {name: graph.constants[name] for name in bulk}
    sweep(result)
    return result


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    loggers = [logging.getLogger(name) for name in ("onnxslim", "onnxslim.core", "onnxslim.third_party")]
    before = [logger.level for logger in loggers]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        slimmed: onnx.ModelProto = onnxslim.slim(
            model,
            skip_fusion_patterns=_SKIPPED_PATTERNS,
            skip_optimizations=_SKIPPED_OPTIMIZATIONS,
            no_shape_infer=True,
        )
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    return slimmed


def _interface(model: onnx.ModelProto) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Names and types of inputs and outputs in order."""
    inputs, outputs = (
        [(item.name, item.type.SerializeToString(deterministic=True)) for item in items]
        for items in (model.graph.input, model.graph.output)
    )
    return inputs, outputs
