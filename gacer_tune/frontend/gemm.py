"""Rules that leave Gemm as Y = A B + C: no transposes, no factors, and not between two reshapes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from gacer_tune.frontend.affine import FLOATS
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import attribute, has_input


def normalise_gemm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Gemm(A, B, C, alpha, beta, transA, transB) -> Gemm(A', B', C'): constants are changed, other operands get nodes.

    Gemm of integers with factors other than 1 stays: its rounding is not defined.
    """
    if node.op_type != "Gemm" or node.domain or not node.attribute:
        return None
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    known = uses.types.get(node.output[0])
    if (alpha, beta) != (1.0, 1.0) and (known is None or known.element not in FLOATS):
        return None
    parts = [
        _operand(uses, node, 0, attribute(node, "transA", 0), 1.0),
        _operand(uses, node, 1, attribute(node, "transB", 0), alpha),
    ]
    if has_input(node, 2) and beta != 0:
        parts.append(_operand(uses, node, 2, 0, beta))
    gemm = helper.make_node("Gemm", [name for name, _ in parts], node.output, node.name)
    return Replacement(
        [*(made for _, part in parts for made in part.nodes), gemm],
        [constant for _, part in parts for constant in part.constants],
    )


def unflatten_gemm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Reshape(Gemm(Reshape(x), B, C)) -> MatMul(x, B) + C, of as many dimensions as x or the result has.

    Exporters and ONNX Runtime's optimizer spell products of more than two dimensions so. What is left of the reshapes
    is only what splits or joins heads.
    """
    gemm = uses.inner(node.input[0], "Gemm") if node.op_type == "Reshape" and not node.domain else None
    flat = uses.maker(gemm.input[0], "Reshape") if gemm is not None and not gemm.attribute else None
    known = uses.types.get(node.output[0])
    if gemm is None or flat is None or known is None:
        return None
    before, weight = uses.shape(flat.input[0]), uses.shape(gemm.input[1])
    if before is None or weight is None or not _spreads(uses, gemm):
        return None
    ends = [shape[:-1] for shape, extent in ((known.shape, weight[1]), (before, weight[0])) if shape[-1:] == (extent,)]
    lead = next((shape for shape in ends if len(shape) > 1), None)
    if lead is None:
        return None
    emit, x = Emitter(uses, node.output[0]), flat.input[0]
    if before != (*lead, weight[0]):
        x = emit.reshape(x, (*lead, weight[0]))
    made = emit.op("MatMul", x, gemm.input[1])
    if has_input(gemm, 2):
        made = emit.op("Add", made, gemm.input[2])
    if known.shape != (*lead, weight[1]):
        emit.reshape(made, known.shape)
    emit.nodes[-1].output[0], emit.nodes[-1].name = node.output[0], node.name
    return Replacement(emit.nodes, emit.constants)


def _spreads(uses: Uses, gemm: onnx.NodeProto) -> bool:
    """Whether what is added is the same for all rows."""
    bias = uses.shape(gemm.input[2]) if has_input(gemm, 2) else ()
    return bias is not None and all(extent == 1 for extent in bias[:-1])


def _operand(uses: Uses, node: onnx.NodeProto, index: int, transposed: int, factor: float) -> tuple[str, Replacement]:
    """The name of `factor * operand` (transposed if asked for) and what makes it."""
    name = node.input[index]
    if not transposed and factor == 1.0:
        return name, Replacement([])
    base = f"{node.output[0]}/{'ABC'[index]}"
    value = uses.array(name)
    if value is not None:
        array = value.T if transposed else value
        constant = uses.constant(np.asarray(array * factor if factor != 1.0 else array, value.dtype), base)
        return constant.name, Replacement([], [constant])
    made: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    if transposed:
        made.append(helper.make_node("Transpose", [name], [uses.fresh(base)], uses.fresh(base), perm=[1, 0]))
        name = made[-1].output[0]
    if factor != 1.0:
        dtype = helper.tensor_dtype_to_np_dtype(uses.types[node.output[0]].element)
        constants.append(uses.constant(np.asarray(factor, dtype), f"{base}/factor"))
        made.append(helper.make_node("Mul", [name, constants[0].name], [uses.fresh(base)], uses.fresh(base)))
        name = made[-1].output[0]
    return name, Replacement(made, constants)
