"""Rule that leaves Gemm as Y = A B + C: no transposes, no factors."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from gacer_tune.frontend.affine import FLOATS
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
