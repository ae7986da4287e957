"""Rules for root mean square normalisation: the operator of ai.onnx and its spelling become gacer.RmsNorm.

    x / Sqrt(ReduceMean(x * x) + epsilon)   over the last axis
The scale stays a Mul behind it, which its kernel takes in.
"""

from __future__ import annotations

import onnx
from onnx import helper

from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.layernorm import NARROW, below_root, is_square, reduced_axes
from gacer_tune.frontend.nodes import GACER_DOMAIN, attribute


def name_rmsnorm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """RMSNormalization(x, scale) over the last axis -> Mul(gacer.RmsNorm(x), scale)."""
    if node.op_type != "RMSNormalization" or node.domain or attribute(node, "stash_type", 1) != 1:
        return None
    known = uses.types.get(node.input[0])
    if known is None or attribute(node, "axis", -1) % len(known.shape) != len(known.shape) - 1:
        return None
    value = uses.fresh(f"{node.output[0]}/normalised")
    made = _rmsnorm(node.input[0], value, node.name, attribute(node, "epsilon", 1e-5))
    scale = helper.make_node("Mul", [value, node.input[1]], node.output, uses.fresh(f"{node.name}/scale"))
    return Replacement([made, scale], types={value: known})


def recognise_rmsnorm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """x / Sqrt(ReduceMean(x * x) + epsilon) -> gacer.RmsNorm(x)."""
    if node.domain or node.op_type not in ("Div", "Mul"):
        return None
    for x, other in (node.input[:], node.input[::-1])[: 1 if node.op_type == "Div" else 2]:
        known, below = uses.types.get(x), below_root(uses, other, node.op_type == "Mul")
        if known is None or known.element not in NARROW or below is None:
            continue
        mean = uses.inner(below[0], "ReduceMean")
        square = None if mean is None else uses.inner(mean.input[0], "Mul", "Pow")
        if mean is None or square is None or square.input[0] != x or not is_square(uses, square):
            continue
        rank = len(known.shape)
        if reduced_axes(uses, mean, rank) == {rank - 1} and uses.types.get(node.output[0]) == known:
            return Replacement([_rmsnorm(x, node.output[0], node.name, below[1])])
    return None


def _rmsnorm(x: str, output: str, name: str, epsilon: float) -> onnx.NodeProto:
    return helper.make_node("RmsNorm", [x], [output], name, domain=GACER_DOMAIN, epsilon=epsilon)
