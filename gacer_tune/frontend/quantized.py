"""Quantized operators in float32: what is stored in 8 bits is computed as the whole numbers that it stands for.

A quantized value is a whole number q of 8 bits that stands for (q - zero point) * scale. It stays float32 from where it
is rounded to where it is used, unless it is an input or an output of the model. Sums of products of such numbers below
2^24 are exact; beyond, they are rounded as all sums of float32 are.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, TensorType, Uses
from gacer_tune.frontend.nodes import Array, attribute, has_input, has_output

_FLOAT = TensorProto.FLOAT
_BYTES = (TensorProto.UINT8, TensorProto.INT8)
_ROUND_SINCE = 11  # opset
_EXACT = 2**24  # up to here float32 has every whole number
_MOST = 255 * 255  # of a product of two bytes
# These become QuantizeLinear, and that what `_whole` looks for, before their readers are spelt.
_PENDING = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")


def pool_in_between(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """QuantizeLinear(MaxPool(DequantizeLinear(q, scale, zero)), scale, zero) -> MaxPool(q)"""
    pool = uses.maker(node.input[0], "MaxPool") if node.op_type == "QuantizeLinear" and not node.domain else None
    before = uses.maker(pool.input[0], "DequantizeLinear") if pool is not None and not has_output(pool, 1) else None
    if pool is None or before is None or node.input[0] in uses.outputs:
        return None
    if not has_input(node, 2) or not has_input(before, 2) or attribute(node, "output_dtype", 0):
        return None
    for at in (1, 2):
        after, other = uses.array(node.input[at]), uses.array(before.input[at])
        if after is None or other is None or after.dtype != other.dtype:
            return None
        if after.size != 1 or other.size != 1 or float(after.reshape(-1)[0]) != float(other.reshape(-1)[0]):
            return None
    attributes = {item.name: helper.get_attribute_value(item) for item in pool.attribute}
    return Replacement([helper.make_node("MaxPool", before.input[:1], node.output, pool.name, **attributes)])


def quantize_to_rounding(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """QuantizeLinear(x, scale, zero) -> Cast(Max(Min(Round(x / scale) + zero, most), least))"""
    known = _known(uses, node, "QuantizeLinear")
    if known is None or known[0].element != _FLOAT:
        return None
    element = attribute(node, "output_dtype", 0) or (known[2].element if has_input(node, 2) else TensorProto.UINT8)
    if element not in _BYTES:
        return None
    emit, axis, rank = Emitter(uses, node.output[0]), attribute(node, "axis", 1), len(known[0].shape)
    whole = emit.op("Round", emit.op("Div", node.input[0], _spread(emit, node.input[1], rank, axis)))
    if has_input(node, 2) and not _is_zero(uses, node.input[2]):
        whole = emit.op("Add", whole, _float(emit, _spread(emit, node.input[2], rank, axis)))
    for op_type, limit in zip(("Min", "Max"), _limits(element)[::-1], strict=True):
        whole = emit.op(op_type, whole, emit.constant(np.asarray(limit, np.float32), "limit"))
    made = helper.make_node("Cast", [whole], node.output, node.name, to=element)
    return Replacement([*emit.nodes, made], emit.constants)


def dequantize_to_product(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """DequantizeLinear(q, scale, zero) -> (q - zero) * scale; the product itself where all are constant."""
    known = _known(uses, node, "DequantizeLinear")
    if known is None or known[0].element == _FLOAT or _waits(uses, node.input[0]):
        return None
    emit, axis, rank = Emitter(uses, node.output[0]), attribute(node, "axis", 1), len(known[0].shape)
    whole, scale = _constant_steps(uses, node, 0, 2, axis), uses.array(node.input[1])
    if whole is not None and scale is not None:
        whole *= _reshaped(scale, rank, axis)
        made = helper.make_node("Identity", [emit.constant(whole, "product")], node.output, node.name)
        return Replacement([made], emit.constants)
    factors = [_steps(emit, node, 0, 2, axis), _spread(emit, node.input[1], rank, axis)]
    made = helper.make_node("Mul", factors, node.output, node.name)
    return Replacement([*emit.nodes, made], emit.constants)


def dynamic_to_quantize(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """DynamicQuantizeLinear(x): QuantizeLinear to 0..255 by the smallest and the largest value, 0 included."""
    if _known(uses, node, "DynamicQuantizeLinear") is None:
        return None
    emit, x = Emitter(uses, node.output[0]), node.input[0]
    axes = range(len(uses.types[x].shape))
    nothing, one, most = (emit.constant(np.asarray(value, np.float32), "number") for value in (0, 1, 255))
    low = emit.op("Min", emit.reduce("ReduceMin", x, axes, keepdims=0), nothing)
    high = emit.op("Max", emit.reduce("ReduceMax", x, axes, keepdims=0), nothing)
    scale = emit.op("Div", emit.op("Sub", high, low), most)
    scale = emit.op("Where", emit.op("Equal", high, low), one, scale)
    below = emit.op("Round", emit.op("Div", emit.op("Sub", nothing, low), scale))
    zero = emit.op("Cast", emit.op("Max", emit.op("Min", below, most), nothing), to=TensorProto.UINT8)
    for name, output in zip((scale, zero), node.output[1:], strict=False):
        if output:
            emit.give(name, output)
    made = helper.make_node("QuantizeLinear", [x, scale, zero], node.output[:1], node.name)
    types = {scale: TensorType(_FLOAT, ()), zero: TensorType(TensorProto.UINT8, ())}
    return Replacement([*emit.nodes, made], emit.constants, types)


def integer_product(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """MatMulInteger and ConvInteger(a, b, zero of a, zero of b) -> Cast of the product of a - zero and b - zero.

    Only where the sums are exact, or where all that is done with them is a Cast to float32.
    """
    op_type = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}.get(node.op_type)
    known = _known(uses, node, node.op_type) if op_type else None
    if op_type is None or known is None or _waits(uses, *node.input[:2]):
        return None
    weight = known[1].shape
    length = math.prod(weight[1:]) if op_type == "Conv" else weight[max(len(weight) - 2, 0)]
    if length * _MOST > _EXACT and not _only_cast(uses, node.output[0]):
        return None
    emit = Emitter(uses, node.output[0])
    sides = [_steps(emit, node, 0, 2, -2), _steps(emit, node, 1, 3, 0 if op_type == "Conv" else -1)]
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    product = emit.op(op_type, *sides, **attributes)
    emit.nodes[-1].name = node.name  # where ONNX Runtime spends the time of the node
    made = helper.make_node("Cast", [product], node.output, to=TensorProto.INT32)
    return Replacement([*emit.nodes, made], emit.constants)


def quantized_product(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """QLinearMatMul and QLinearConv(a, b, each with scale and zero, scale and zero of the result, bias) -> the product
    of both dequantized, quantized."""
    op_type = {"QLinearMatMul": "MatMul", "QLinearConv": "Conv"}.get(node.op_type)
    if op_type is None or _known(uses, node, node.op_type) is None:
        return None
    emit, sides = Emitter(uses, node.output[0]), list[str]()
    for number, axis in ((0, -2), (3, 0 if op_type == "Conv" else -1)):
        name, scale, zero = node.input[number : number + 3]
        ranked = {} if math.prod(uses.types[scale].shape) == 1 else {"axis": axis % len(uses.types[name].shape)}
        sides.append(emit.op("DequantizeLinear", name, scale, zero, **ranked))
    if has_input(node, 8):  # of int32, in units of both scales
        units = emit.op("Mul", emit.reshape(node.input[4], (-1,)), emit.reshape(node.input[1], (-1,)))
        sides.append(emit.op("Mul", _float(emit, node.input[8]), units))
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    product = emit.op(op_type, *sides, **attributes)
    emit.nodes[-1].name = node.name  # where ONNX Runtime spends the time of the node
    made = helper.make_node("QuantizeLinear", [product, *node.input[6:8]], node.output)
    shapes = zip((*sides[:2], product), (node.input[0], node.input[3], node.output[0]), strict=True)
    types = {name: TensorType(_FLOAT, uses.types[like].shape) for name, like in shapes if like in uses.types}
    return Replacement([*emit.nodes, made], emit.constants, types)


def pool_of_bytes(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """MaxPool of bytes -> Cast(MaxPool of the same numbers as float32)"""
    if not _is_pool_of_bytes(uses, node) or _waits(uses, node.input[0]):
        return None
    emit = Emitter(uses, node.output[0])
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    pooled = emit.op("MaxPool", _float(emit, node.input[0]), **attributes)
    emit.nodes[-1].name = node.name
    made = helper.make_node("Cast", [pooled], node.output, to=uses.types[node.input[0]].element)
    return Replacement([*emit.nodes, made], emit.constants)


def _known(uses: Uses, node: onnx.NodeProto, op_type: str) -> list[TensorType] | None:
    """Types of the inputs, in order, of a node with this operator whose scales are float32 and not of blocks."""
    if node.op_type != op_type or node.domain or attribute(node, "block_size", 0) or uses.opset < _ROUND_SINCE:
        return None
    if attribute(node, "precision", _FLOAT) not in (0, _FLOAT):
        return None
    if op_type == "DequantizeLinear" and attribute(node, "output_dtype", _FLOAT) not in (0, _FLOAT):
        return None
    known = [uses.types.get(name) for name in node.input if name]
    elements = (*_BYTES, TensorProto.INT32, _FLOAT)
    return None if any(one is None or one.element not in elements for one in known) else [one for one in known if one]


def _waits(uses: Uses, *names: str) -> bool:
    """Whether some maker of a value will be replaced by what `_whole` looks for."""
    return any(uses.maker(name, *_PENDING) or _is_pool_of_bytes(uses, uses.makers.get(name)) for name in names)


def _is_pool_of_bytes(uses: Uses, node: onnx.NodeProto | None) -> bool:
    if node is None or node.op_type != "MaxPool" or node.domain or has_output(node, 1):
        return False
    return node.input[0] in uses.types and uses.types[node.input[0]].element in _BYTES


def _limits(element: int) -> tuple[int, int]:
    info = np.iinfo(helper.tensor_dtype_to_np_dtype(element))
    return int(info.min), int(info.max)


def _steps(emit: Emitter, node: onnx.NodeProto, number: int, zero: int, axis: int) -> str:
    """An input of the node minus its zero point, which is another input, as float32; exact."""
    name, uses = node.input[number], emit.uses
    whole = _constant_steps(uses, node, number, zero, axis)
    if whole is not None:
        return emit.constant(whole, "whole")
    if not has_input(node, zero) or _is_zero(uses, node.input[zero]):
        return _float(emit, name)
    point = _spread(emit, node.input[zero], len(uses.types[name].shape), axis)
    if uses.types[name].element == TensorProto.INT32:
        return _float(emit, emit.op("Sub", name, point))
    return emit.op("Sub", _float(emit, name), _float(emit, point))


def _constant_steps(uses: Uses, node: onnx.NodeProto, number: int, zero: int, axis: int) -> Array | None:
    """The same of constants, in memory of its own. Folding them minds how large the result is; weights must be one."""
    value = uses.array(node.input[number])
    point = uses.array(node.input[zero]) if has_input(node, zero) else np.zeros((), np.int32)
    if value is None or point is None:
        return None
    wide = value.astype(np.int32 if value.dtype == np.int32 else np.float32)
    wide -= _reshaped(point, value.ndim, axis).astype(wide.dtype)
    return wide.astype(np.float32, copy=False)


def _float(emit: Emitter, name: str) -> str:
    """The whole numbers of a value as float32: what was rounded to them, where that is known."""
    return _whole(emit.uses, name) or emit.op("Cast", name, to=_FLOAT)


def _whole(uses: Uses, name: str) -> str | None:
    """The float32 value that Cast makes bytes of, as `quantize_to_rounding` does: it holds such numbers only."""
    cast = uses.maker(name, "Cast")
    if cast is None or attribute(cast, "to", 0) not in _BYTES:
        return None
    value = cast.input[0]
    while pool := uses.maker(value, "MaxPool"):
        value = pool.input[0]
    return cast.input[0] if _is_rounded(uses, value, _limits(attribute(cast, "to", 0))) else None


def _is_rounded(uses: Uses, name: str, limits: tuple[int, int]) -> bool:
    """Whether a value of float32 is Max(Min(Round(x) + bytes, most), least) with these limits."""
    least = uses.maker(name, "Max")
    most = uses.maker(least.input[0], "Min") if least else None
    if least is None or most is None or (uses.scalar(least.input[1]), uses.scalar(most.input[1])) != limits:
        return False
    shifted = uses.maker(most.input[0], "Add")
    rounded = uses.maker(shifted.input[0] if shifted else most.input[0], "Round")
    return rounded is not None and (shifted is None or _is_whole(uses, shifted.input[1]))


def _is_whole(uses: Uses, name: str) -> bool:
    """Whether a value of float32 is known to hold bytes."""
    value, cast = uses.array(name), uses.maker(name, "Cast")
    if value is not None:
        return bool(np.all(np.abs(value) <= _MOST) and np.all(value == np.round(value)))
    if any(_is_rounded(uses, name, _limits(element)) for element in _BYTES):
        return True
    return cast is not None and cast.input[0] in uses.types and uses.types[cast.input[0]].element in _BYTES


def _is_zero(uses: Uses, name: str) -> bool:
    value = uses.array(name)
    return value is not None and not np.any(value)


def _spread(emit: Emitter, name: str, rank: int, axis: int) -> str:
    """A scale or zero point in a shape that is broadcast: one number, or one for each index of an axis."""
    shape, value = emit.uses.types[name].shape, emit.uses.array(name)
    if len(shape) == rank > 1 or (math.prod(shape) == 1 and value is None):
        return name
    if value is not None:
        return emit.constant(_reshaped(value, rank, axis), "units")
    return emit.reshape(name, _along(rank, axis))


def _reshaped(value: Array, rank: int, axis: int) -> Array:
    """A constant as `_spread` would have it."""
    if value.size == 1:
        return value.reshape(())
    return value if value.ndim == rank > 1 else value.reshape(_along(rank, axis))


def _along(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(-1 if one == axis % rank else 1 for one in range(rank))


def _only_cast(uses: Uses, name: str) -> bool:
    """Whether all that is done with the value is a Cast to float32."""
    readers = [node for node in uses.makers.values() if name in node.input]
    cast = all(node.op_type == "Cast" and attribute(node, "to", 0) == _FLOAT for node in readers)
    return cast and name not in uses.outputs
