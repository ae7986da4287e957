"""Rules for layer normalisation: the operator of ai.onnx and its spelling in small operators become gacer.LayerNorm.

    m = ReduceMean(x), d = x - m, v = ReduceMean(d * d), d / Sqrt(v + epsilon)   over the last axes
A following Mul and Add by constants are folded into scale and bias by `affine.fold_affine`.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from gacer_tune.frontend.affine import FLOATS
from gacer_tune.frontend.graph import Replacement, TensorType, Uses
from gacer_tune.frontend.nodes import GACER_DOMAIN, Array, attribute, attribute_ints, has_input, has_output

NARROW = FLOATS - {TensorProto.DOUBLE}  # what has no kernel in double precision stays spelt in operators that have


def name_layernorm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """LayerNormalization -> gacer.LayerNorm, if only Y is read and scale and bias are constant or of full shape."""
    known = uses.types.get(node.input[0]) if node.input else None
    if node.op_type != "LayerNormalization" or node.domain or known is None or attribute(node, "stash_type", 1) != 1:
        return None
    if any(has_output(node, index) and uses.readers.get(node.output[index], 0) for index in (1, 2)):
        return None
    axis = attribute(node, "axis", -1) % len(known.shape)
    wanted = known.shape[axis:]
    names: list[str] = []
    constants: list[onnx.TensorProto] = []
    for index, label in ((1, "scale"), (2, "bias")):
        name = node.input[index] if has_input(node, index) else ""
        if name and uses.shape(name) == wanted:
            names.append(name)
            continue
        value = uses.array(name) if name else np.zeros(wanted)
        if value is None or not _fills(value, wanted):
            return None
        constants.append(_filled(uses, np.broadcast_to(value, wanted), known, f"{node.output[0]}/{label}"))
        names.append(constants[-1].name)
    epsilon = attribute(node, "epsilon", 1e-5)
    return Replacement([_layernorm([node.input[0], *names], node, axis, epsilon)], constants)


def recognise_layernorm(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """d / Sqrt(ReduceMean(d * d) + epsilon) with d = x - ReduceMean(x) -> gacer.LayerNorm(x, 1, 0)."""
    if node.domain or node.op_type not in ("Div", "Mul"):
        return None
    for numerator, other in (node.input[:], node.input[::-1])[: 1 if node.op_type == "Div" else 2]:
        variance = below_root(uses, other, node.op_type == "Mul")
        deviation = uses.maker(numerator, "Sub")
        if variance is None or deviation is None:
            continue
        found = _normalised_axis(uses, variance[0], deviation)
        if found is None or uses.types.get(node.output[0]) != uses.types[deviation.input[0]]:
            continue
        known = uses.types[node.output[0]]
        ones = _filled(uses, np.ones(known.shape[found:]), known, f"{node.output[0]}/scale")
        zeros = _filled(uses, np.zeros(known.shape[found:]), known, f"{node.output[0]}/bias")
        made = _layernorm([deviation.input[0], ones.name, zeros.name], node, found, variance[1])
        return Replacement([made], [ones, zeros])
    return None


def _fills(value: Array, wanted: tuple[int, ...]) -> bool:
    """Whether the value can be broadcast to that shape."""
    own = value.shape[::-1]
    return len(own) <= len(wanted) and all(dim in (1, full) for dim, full in zip(own, wanted[::-1], strict=False))


def _layernorm(inputs: list[str], node: onnx.NodeProto, axis: int, epsilon: float) -> onnx.NodeProto:
    name, outputs = node.name, node.output[:1]
    return helper.make_node("LayerNorm", inputs, outputs, name, domain=GACER_DOMAIN, axis=axis, epsilon=epsilon)


def _filled(uses: Uses, value: Array, known: TensorType, base: str) -> onnx.TensorProto:
    return uses.constant(value.astype(helper.tensor_dtype_to_np_dtype(known.element)), base)


def below_root(uses: Uses, name: str, inverted: bool) -> tuple[str, float] | None:
    """v and epsilon of Sqrt(v + epsilon), which may be Pow 0.5; of its Reciprocal or 1 / it if `inverted`."""
    if inverted:
        inverse = uses.inner(name, "Reciprocal", "Div")
        if inverse is None or (inverse.op_type == "Div" and uses.scalar(inverse.input[0]) != 1.0):
            return None
        name = inverse.input[-1]
    root = uses.inner(name, "Sqrt", "Pow")
    if root is None or (root.op_type == "Pow" and uses.scalar(root.input[1]) != 0.5):
        return None
    total = uses.inner(root.input[0], "Add")
    if total is None:
        return None
    for variance, epsilon in (total.input[:], total.input[::-1]):
        value = uses.scalar(epsilon)
        if value is not None:
            return variance, value
    return None


def _normalised_axis(uses: Uses, variance: str, deviation: onnx.NodeProto) -> int | None:
    """First of the normalised axes, if `variance` is the mean of the squares of `deviation` = x - mean(x)."""
    x, known = deviation.input[0], uses.types.get(deviation.input[0])
    mean_of_squares = uses.inner(variance, "ReduceMean")
    mean = uses.inner(deviation.input[1], "ReduceMean")
    if mean is None or mean_of_squares is None or known is None or known.element not in NARROW or mean.input[0] != x:
        return None
    square = uses.inner(mean_of_squares.input[0], "Mul", "Pow")
    if square is None or square.input[0] != deviation.output[0]:
        return None
    # The deviation is read by the square (twice if it is a Mul) and by the quotient; more readers would still need it.
    readers = 2 if square.op_type == "Pow" else 3
    axes = [reduced_axes(uses, item, len(known.shape)) for item in (mean, mean_of_squares)]
    if (
        not is_square(uses, square)
        or uses.readers[deviation.output[0]] != readers
        or axes[0] is None
        or axes[0] != axes[1]
    ):
        return None
    first = min(axes[0], default=0)
    return first if axes[0] and axes[0] == set(range(first, len(known.shape))) else None


def is_square(uses: Uses, node: onnx.NodeProto) -> bool:
    """Whether a Mul or Pow is its first input squared."""
    return uses.scalar(node.input[1]) == 2.0 if node.op_type == "Pow" else node.input[1] == node.input[0]


def reduced_axes(uses: Uses, node: onnx.NodeProto, rank: int) -> set[int] | None:
    """Axes of a ReduceMean that keeps dimensions (an input since operator set 18, an attribute before), else None."""
    if not attribute(node, "keepdims", 1):
        return None
    axes = attribute_ints(node, "axes")
    if has_input(node, 1):
        value = uses.array(node.input[1])
        if value is None:
            return None
        axes = tuple(int(item) for item in value)
    if not axes:
        return None if attribute(node, "noop_with_empty_axes", 0) else set(range(rank))
    return {axis % rank for axis in axes}
