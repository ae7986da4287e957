"""Rules that fold scales and shifts per channel into the operator before: BatchNormalization, Mul, Add, Sub, Div.

BatchNormalization(Conv(x, W, b)) -> Conv(x, W * s, b * s + t)    also ConvTranspose, Gemm, gacer.LayerNorm
    Mul(BatchNormalization(x, ...), s)      -> BatchNormalization(x, ...)
BatchNormalization(x)             -> Add(Mul(x, s), t)            if nothing before it can take s and t
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from gacer_tune.frontend.graph import Replacement, TensorType, Uses
from gacer_tune.frontend.nodes import Array, attribute, has_input, has_output

FLOATS = frozenset((TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16))
_LINEAR = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization", "gacer.LayerNorm")


@dataclass(frozen=True, slots=True)
class Affine:
    """`source * scale + shift`, both broadcast to the shape of `source`, which is the shape of the result; float64."""

    source: str
    scale: Array | None
    shift: Array | None


def batchnorm_to_mul_add(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """BatchNormalization of an inference -> Mul, Add with constants of shape [C, 1, ...]."""
    affine = _batchnorm(uses, node)
    if affine is None or affine.scale is None or affine.shift is None:
        return None
    known = uses.types[node.input[0]]
    dtype = helper.tensor_dtype_to_np_dtype(known.element)
    scale = uses.constant(affine.scale.astype(dtype), f"{node.output[0]}/scale")
    shift = uses.constant(affine.shift.astype(dtype), f"{node.output[0]}/shift")
    scaled = uses.fresh(f"{node.output[0]}/scaled")
    nodes = [
        helper.make_node("Mul", [affine.source, scale.name], [scaled], uses.fresh(f"{node.name}/scale")),
        helper.make_node("Add", [scaled, shift.name], node.output[:1], node.name),
    ]
    return Replacement(nodes, [scale, shift], types={scaled: known})


def fold_affine(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Fold a scale and shift by constants into the linear operator that nobody else reads."""
    affine = _batchnorm(uses, node) or _arithmetic(uses, node)
    if affine is None:
        return None
    linear = uses.inner(affine.source, *_LINEAR)
    known = uses.types[affine.source]
    if linear is None or known.element not in FLOATS or _is_scaled_gemm(linear) or linear.input[1] not in uses.types:
        return None
    per_channel = _channel_values(affine, linear, known)
    if per_channel is None:
        return None
    weight, bias = _folded_weight(uses, linear, per_channel[0]), _folded_bias(uses, linear, *per_channel)
    if weight is None or bias is None:
        return None
    dtype = helper.tensor_dtype_to_np_dtype(uses.types[linear.input[1]].element)  # a BatchNormalization's may be wider
    with np.errstate(over="ignore"):
        weight, bias = weight.astype(dtype), bias.astype(dtype)
    if not (np.all(np.isfinite(weight)) and np.all(np.isfinite(bias))):  # half precision may overflow
        return None
    constants = [uses.constant(bias, f"{node.output[0]}/bias")]
    inputs = [linear.input[0], linear.input[1], constants[0].name, *linear.input[3:]]
    if weight.size:
        constants.append(uses.constant(weight, f"{node.output[0]}/weight"))
        inputs[1] = constants[1].name
    return Replacement([_moved(linear, inputs, node.output[0])], constants)


def _moved(node: onnx.NodeProto, inputs: list[str], output: str) -> onnx.NodeProto:
    """The same operator on other inputs, making another output."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(inputs)
    copy.output.append(output)
    return copy


def _batchnorm(uses: Uses, node: onnx.NodeProto) -> Affine | None:
    """Scale and shift of shape [C, 1, ...] of a BatchNormalization with constant statistics that does not train."""
    if node.op_type != "BatchNormalization" or node.domain or attribute(node, "training_mode", 0):
        return None
    # Further outputs and spatial=0 belong to training and to operator sets before 9.
    if any(has_output(node, index) for index in range(1, 5)) or not attribute(node, "spatial", 1):
        return None
    values = [uses.array(name) for name in node.input[1:5]]
    shape = uses.shape(node.input[0])
    if shape is None or len(shape) < 2 or any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    column = (-1, *(1 for _ in shape[2:]))
    return Affine(node.input[0], scale.reshape(column), (beta - mean * scale).reshape(column))


def _arithmetic(uses: Uses, node: onnx.NodeProto) -> Affine | None:
    """Scale and shift of a Mul, Add, Sub or Div of a value and a constant that does not enlarge the value."""
    if node.op_type not in ("Mul", "Add", "Sub", "Div") or node.domain:
        return None
    side = 0 if node.input[1] in uses.constants else 1
    source, constant = node.input[side], uses.constants.get(node.input[1 - side])
    known = uses.types.get(source)
    if constant is None or known is None or known.element not in FLOATS or uses.shape(node.output[0]) != known.shape:
        return None
    if uses.inner(source, *_LINEAR) is None or (node.op_type == "Div" and side == 1):
        return None
    value = np.asarray(uses.array(constant.name), np.float64)
    if node.op_type == "Mul":
        return Affine(source, value, None)
    if node.op_type == "Div":
        return Affine(source, 1 / value, None) if np.all(value != 0) else None
    if node.op_type == "Add" or side == 1:
        return Affine(source, None if node.op_type == "Add" else np.asarray(-1.0), value)
    return Affine(source, None, -value)


def _is_scaled_gemm(node: onnx.NodeProto) -> bool:
    """A Gemm that its own rule has not brought to Y = A B + C yet."""
    factors = (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0))
    transposed = attribute(node, "transA", 0) or attribute(node, "transB", 0)
    return node.op_type == "Gemm" and (factors != (1.0, 1.0) or bool(transposed))


def _channel_values(affine: Affine, linear: onnx.NodeProto, known: TensorType) -> tuple[Array, Array] | None:
    """Scale and shift in the shape of the operator's bias; None if they differ along another axis."""
    rank = len(known.shape)
    first = attribute(linear, "axis", -1) % rank if linear.op_type == "LayerNorm" else 1
    last = rank if linear.op_type == "LayerNorm" else 2
    found: list[Array] = []
    for value, neutral in ((affine.scale, 1.0), (affine.shift, 0.0)):
        array = np.asarray(neutral if value is None else value, np.float64)
        if array.ndim > rank:
            return None
        dims = (1,) * (rank - array.ndim) + array.shape
        if math.prod(dims[:first]) != 1 or math.prod(dims[last:]) != 1:
            return None
        found.append(np.broadcast_to(array.reshape(dims[first:last]), known.shape[first:last]))
    return found[0], found[1]


def _folded_weight(uses: Uses, linear: onnx.NodeProto, scale: Array) -> Array | None:
    """The scaled weight; an empty array if it needs no change, None if it cannot be changed."""
    if np.all(scale == 1):
        return np.empty(0)
    weight = uses.array(linear.input[1])
    if weight is None:
        return None
    scale = scale.astype(np.float64 if weight.dtype == np.float64 else np.float32)
    if linear.op_type == "Conv":
        return np.asarray(weight * scale.reshape(-1, *(1 for _ in weight.shape[1:])))
    if linear.op_type == "ConvTranspose":  # [C_in, C_out / group, ...]; the groups lie along the first axis
        group = attribute(linear, "group", 1)
        grouped = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])
        factors = scale.reshape(group, 1, -1, *(1 for _ in weight.shape[2:]))
        return np.asarray((grouped * factors).reshape(weight.shape))
    return np.asarray(weight * scale)


def _folded_bias(uses: Uses, linear: onnx.NodeProto, scale: Array, shift: Array) -> Array | None:
    """bias * scale + shift, None if the bias is not constant."""
    if not has_input(linear, 2):
        return shift
    bias = uses.array(linear.input[2])
    return None if bias is None else np.asarray(np.asarray(bias, np.float64) * scale + shift)
