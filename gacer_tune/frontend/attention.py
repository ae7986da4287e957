"""Rule that spells Attention of ai.onnx as products and a softmax, which one kernel computes where they fit.

    scores = query @ keys^T * scale, softcap * Tanh(scores / softcap), + mask, Softmax, @ values
Heads are batch axes. Where several heads of the query share those of keys and values, they have an axis of their own,
along which keys and values are repeated without a copy. A row that may see no key at all gives zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import Array, attribute, has_input, has_output, label

_PRECISIONS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)  # float32 is at least as precise


@dataclass(frozen=True, slots=True)
class Heads:
    """Extents: `groups` heads of keys and values, `repeats` heads of the query for each of them.

    Of the keys the first `past` are those that were given as such. flat: heads lie side by side in the last axis.
    """

    batch: int
    groups: int
    repeats: int
    queries: int
    keys: int
    depth: int
    width: int  # of values
    past: int
    flat: bool

    def spread(self, heads: int, repeats: int) -> tuple[int, ...]:
        """The axis of the heads, split in two where several heads of the query share one."""
        return (heads,) if self.repeats == 1 else (heads, repeats)


@dataclass(frozen=True, slots=True)
class Scores:
    """Names of the products of query and keys after each step."""

    scaled: str
    capped: str
    biased: str
    weights: str


def attention_to_products(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Attention with any heads, masks, windows, past keys and values; not with a length for each of the batch."""
    if node.op_type != "Attention" or node.domain or any(name and name not in uses.types for name in node.input):
        return None
    where = f"node {label(node)!r} (Attention)"
    _check(uses, node, where)
    heads = _heads(uses, node, where)
    emit, dtype = Emitter(uses, label(node)), helper.tensor_dtype_to_np_dtype(uses.types[node.input[0]].element)
    bias, seen = _bias(emit, node, heads, dtype)
    scale = emit.constant(np.asarray(attribute(node, "scale", heads.depth**-0.5), dtype), "scale")
    softcap = attribute(node, "softcap", 0.0)
    cap = emit.constant(np.asarray(softcap, dtype), "softcap") if softcap > 0 else None
    present = [_present(emit, node, number, heads, wide) for number, wide in ((1, heads.depth), (2, heads.width))]
    keys, values = (
        emit.reshape(name, (heads.batch, heads.groups, 1, heads.keys, wide)) if heads.repeats > 1 else name
        for name, wide in zip(present, (heads.depth, heads.width), strict=True)
    )
    rank = 4 if heads.repeats == 1 else 5
    turned = emit.op("Transpose", keys, perm=[*range(rank - 2), rank - 1, rank - 2])
    found = scored(emit, _query(emit, node.input[0], heads), turned, scale, bias, cap)
    product = emit.op("MatMul", found.weights, values)
    made = [_joined(emit, _where_seen(emit, product, seen, dtype), heads), *present]
    if has_output(node, 3):
        made.append(_shown(emit, node, found, seen, heads))
    for name, output in zip(made, node.output, strict=False):
        if output:
            emit.give(name, output)
    return Replacement(emit.nodes, emit.constants)


def scored(emit: Emitter, query: str, turned: str, scale: str, bias: str | None, cap: str | None = None) -> Scores:
    """Softmax of cap * Tanh(query @ turned * scale / cap) + bias; turned: keys (batch..., d, n)."""
    scaled = emit.op("Mul", emit.op("MatMul", query, turned), scale)
    capped = scaled if cap is None else emit.op("Mul", emit.op("Tanh", emit.op("Div", scaled, cap)), cap)
    biased = emit.plus(capped, bias)
    return Scores(scaled, capped, biased, emit.op("Softmax", biased, axis=-1))


def require_both_past(node: onnx.NodeProto, keys: int, where: str) -> None:
    """keys: number of the input with past keys; past values follow."""
    if has_input(node, keys) != has_input(node, keys + 1):
        raise UserError(f"{where}: one of past_key and past_value is given, only both or none are allowed")


def _check(uses: Uses, node: onnx.NodeProto, where: str) -> None:
    """Refuse what is not implemented."""
    if has_input(node, 6):
        raise UserError(f"{where}: nonpad_kv_seqlen is not supported, only a mask")
    require_both_past(node, 4, where)
    precision = attribute(node, "softmax_precision", int(TensorProto.FLOAT))
    if precision not in _PRECISIONS:
        allowed = ", ".join(str(int(one)) for one in _PRECISIONS)
        raise UserError(f"{where}: softmax_precision {precision} is not supported, only {allowed}")
    mode = attribute(node, "qk_matmul_output_mode", 0)
    if mode not in range(4):
        raise UserError(f"{where}: qk_matmul_output_mode {mode}, only 0 to 3 are allowed")
    ranks = {len(uses.types[name].shape) for name in node.input[:3]}
    if ranks not in ({3}, {4}):
        raise UserError(f"{where}: query, keys and values of {sorted(ranks)} dimensions, only all of 3 or all of 4")


def _heads(uses: Uses, node: onnx.NodeProto, where: str) -> Heads:
    query, keys, values = (uses.types[name].shape for name in node.input[:3])
    past = uses.types[node.input[4]].shape[2] if has_input(node, 4) else 0
    flat = len(query) == 3
    if flat:
        many, groups = attribute(node, "q_num_heads", 0), attribute(node, "kv_num_heads", 0)
        if many < 1 or groups < 1 or query[2] % many or keys[2] % groups or values[2] % groups:
            widths = f"{query[2]}, {keys[2]} and {values[2]}"
            raise UserError(f"{where}: widths {widths} do not split into q_num_heads {many} and kv_num_heads {groups}")
        rows, columns = (query[1], keys[1]), (query[2] // many, keys[2] // groups, values[2] // groups)
    else:
        many, groups = query[1], keys[1]
        rows, columns = (query[2], keys[2]), (query[3], keys[3], values[3])
    if many % groups or columns[0] != columns[1]:
        raise UserError(f"{where}: {many} heads of {columns[0]} do not share {groups} heads of {columns[1]}")
    return Heads(query[0], groups, many // groups, rows[0], past + rows[1], columns[0], columns[2], past, flat)


def _query(emit: Emitter, name: str, heads: Heads) -> str:
    """The query as (batch, heads..., rows, depth)."""
    spread = heads.spread(heads.groups, heads.repeats)
    if heads.flat:
        rows = emit.reshape(name, (heads.batch, heads.queries, *spread, heads.depth))
        return emit.op("Transpose", rows, perm=[0, *range(2, len(spread) + 2), 1, len(spread) + 2])
    return name if heads.repeats == 1 else emit.reshape(name, (heads.batch, *spread, heads.queries, heads.depth))


def _present(emit: Emitter, node: onnx.NodeProto, number: int, heads: Heads, wide: int) -> str:
    """Keys or values as (batch, heads, keys, wide), behind the past ones."""
    name = node.input[number]
    if heads.flat:
        rows = emit.reshape(name, (heads.batch, heads.keys - heads.past, heads.groups, wide))
        name = emit.op("Transpose", rows, perm=[0, 2, 1, 3])
    return emit.op("Concat", node.input[number + 3], name, axis=2) if heads.past else name


def _joined(emit: Emitter, name: str, heads: Heads) -> str:
    """The product with the values in the form of the query."""
    many = heads.groups * heads.repeats
    if not heads.flat:
        shape = heads.batch, many, heads.queries, heads.width
        return name if heads.repeats == 1 else emit.reshape(name, shape)
    last = 3 if heads.repeats == 1 else 4
    turned = emit.op("Transpose", name, perm=[0, last - 1, *range(1, last - 1), last])
    return emit.reshape(turned, (heads.batch, heads.queries, many * heads.width))


def _shown(emit: Emitter, node: onnx.NodeProto, found: Scores, seen: str | None, heads: Heads) -> str:
    """The fourth output: what the mode asks for, of all heads of the query in one axis."""
    mode = attribute(node, "qk_matmul_output_mode", 0)
    name = (found.scaled, found.capped, found.biased, found.weights)[mode]
    if mode == 3:
        name = _where_seen(emit, name, seen, np.dtype(np.float32))
    many = heads.groups * heads.repeats
    return name if heads.repeats == 1 else emit.reshape(name, (heads.batch, many, heads.queries, heads.keys))


def _where_seen(emit: Emitter, name: str, seen: str | None, dtype: np.dtype) -> str:
    if seen is None:
        return name
    return emit.op("Where", seen, name, emit.constant(np.zeros((), dtype), "zero"))


def _bias(emit: Emitter, node: onnx.NodeProto, heads: Heads, dtype: np.dtype) -> tuple[str | None, str | None]:
    """What is added to the scores, and which rows see a key; None for nothing and for all."""
    inside = _window(node, heads)
    fixed = None if inside is None else np.where(inside, 0, -np.inf).astype(dtype)
    if not has_input(node, 3):
        return (None, None) if fixed is None else _constant_bias(emit, fixed)
    mask = node.input[3]
    shape = _mask_shape(emit.uses, node, heads)
    given = emit.uses.array(mask)
    if given is not None:
        added = np.where(given, 0, -np.inf).astype(dtype) if given.dtype == np.bool_ else given
        total = added.reshape(shape) if fixed is None else added.reshape(shape) + fixed
        return _constant_bias(emit, total)
    if emit.uses.types[mask].element == TensorProto.BOOL:
        ends = (emit.constant(np.asarray(value, dtype), "limit") for value in (0, -np.inf))
        mask = emit.op("Where", mask, *ends)
    if shape != emit.uses.types[node.input[3]].shape:
        mask = emit.reshape(mask, shape)
    bias = emit.plus(mask, None if fixed is None else emit.constant(fixed, "window"))
    return bias, _seen(emit, bias, len(shape), dtype)


def _constant_bias(emit: Emitter, bias: Array) -> tuple[str | None, str | None]:
    seen = bias.max(-1, keepdims=True) > -np.inf
    return emit.constant(bias, "mask"), None if seen.all() else emit.constant(seen, "seen")


def _seen(emit: Emitter, bias: str, rank: int, dtype: np.dtype) -> str:
    most = emit.reduce("ReduceMax", bias, (rank - 1,))
    return emit.op("Greater", most, emit.constant(np.asarray(-np.inf, dtype), "hidden"))


def _window(node: onnx.NodeProto, heads: Heads) -> Array | None:
    """Whether a query (row) may see a key (column); None where each may see all."""
    ends = attribute(node, "left_window_size", -1), attribute(node, "right_window_size", -1)
    causal = attribute(node, "is_causal", 0)
    if not causal and max(ends) < 0:
        return None
    ahead = np.arange(heads.keys) - np.arange(heads.past, heads.past + heads.queries)[:, None]
    left, right = (math.inf if end < 0 else end for end in ends)
    return np.asarray((ahead >= -left) & (ahead <= min(right, 0 if causal else math.inf)))


def _mask_shape(uses: Uses, node: onnx.NodeProto, heads: Heads) -> tuple[int, ...]:
    """The shape of the mask with the heads split as those of the query are."""
    shape = uses.types[node.input[3]].shape
    most = heads.batch, heads.groups * heads.repeats, heads.queries, heads.keys
    full = (1,) * (4 - len(shape)) + shape
    if len(full) > 4 or any(own not in (1, extent) for own, extent in zip(full, most, strict=True)):
        own, wanted = ("x".join(map(str, dims)) for dims in (shape, most))
        raise UserError(f"node {label(node)!r} (Attention): a mask of shape {own} does not spread over {wanted}")
    if len(shape) < 3 or heads.repeats == 1:
        return shape
    split = (1, 1) if full[1] == 1 else (heads.groups, heads.repeats)
    return full[0], *split, full[2], full[3]
