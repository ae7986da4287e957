"""Attentions of ONNX Runtime's own operators, spelt in products and a softmax."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.attention import require_both_past, scored
from gacer_tune.frontend.contrib_node import Given
from gacer_tune.frontend.nodes import attribute, has_output

_HIDDEN = -10000.0  # what is added where a mask hides a key, unless the node says otherwise


def packed(given: Given) -> Sequence[str]:
    """Attention(x, weights, bias, mask, past, added): query, key and value are one product of x."""
    for name in ("do_rotary", "past_present_share_buffer"):
        if attribute(given.node, name, 0):
            raise UserError(f"{given.where}: {name} is not supported")
    emit, node = given.emit, given.node
    projected = given.plus_input(emit.op("MatMul", *node.input[:2]), 2)
    ends = np.cumsum([0, *_widths(given)]).tolist()
    parts = [emit.slice(projected, 2, start, end) for start, end in pairwise(ends)]
    query, key, value = (_split(given, part) for part in parts)
    past: list[str] = []
    if given.has(4):
        past = [emit.op("Gather", node.input[4], emit.constant(np.asarray(at), "side"), axis=0) for at in (0, 1)]
        key, value = _behind(given, past, (key, value))
    made = _attended(given, query, key, value, _bias(given, 3, query, key, past))
    if not has_output(node, 1):
        return [made]
    return [made, emit.op("Concat", given.unsqueezed(key, 0), given.unsqueezed(value, 0), axis=0)]


def heads(given: Given) -> Sequence[str]:
    """MultiHeadAttention(query, key, value, bias, mask, added, past key, past value)"""
    emit, node = given.emit, given.node
    require_both_past(node, 6, given.where)
    names = list(node.input[:3])
    if given.has(3):
        names = [emit.op("Add", name, bias) for name, bias in zip(names, _biases(given), strict=True)]
    query, key, value = (
        name if given.ranks.get(given_name) == 4 else _split(given, name)
        for name, given_name in zip(names, node.input, strict=False)
    )
    past = node.input[6:8] if given.has(6) else []
    if past:
        key, value = _behind(given, past, (key, value))
    return [_attended(given, query, key, value, _bias(given, 4, query, key, past)), key, value]


def _behind(given: Given, past: Sequence[str], sides: tuple[str, str]) -> list[str]:
    """Keys and values behind past ones."""
    return [given.emit.op("Concat", old, new, axis=2) for old, new in zip(past, sides, strict=True)]


def _widths(given: Given) -> list[int]:
    """Columns of query, key and value among those of the weights."""
    widths: list[int] = attribute(given.node, "qkv_hidden_sizes", [])
    known = given.emit.uses.types.get(given.node.input[1])
    if not widths and known is None:
        raise UserError(f"{given.where}: its weights {given.node.input[1]!r} are not constant")
    if not widths and known is not None:
        widths = [known.shape[-1] // 3] * 3
    return widths


def _biases(given: Given) -> list[str]:
    """Those of query, key and value, side by side: the first two have the width of the query."""
    emit, bias = given.emit, given.node.input[3]
    width = given.unsqueezed(given.extent(given.node.input[0], -1), 0)
    first, twice = emit.limit(0), emit.op("Add", width, width)
    last = emit.limit(np.iinfo(np.int32).max)
    return [emit.op("Slice", bias, start, end) for start, end in ((first, width), (width, twice), (twice, last))]


def _split(given: Given, name: str) -> str:
    """(batch, rows, heads * depth) -> (batch, heads, rows, depth)"""
    count = attribute(given.node, "num_heads", 0)
    return given.emit.op("Transpose", given.emit.reshape(name, (0, 0, count, -1)), perm=[0, 2, 1, 3])


def _attended(given: Given, query: str, key: str, value: str, bias: str | None) -> str:
    """The values that the query attends to, (batch, rows, heads * depth)."""
    emit, scale = given.emit, attribute(given.node, "scale", 0.0)
    if scale:
        factor = given.number(scale)
    else:
        depth = emit.op("Cast", given.extent(query, 3), to=TensorProto.FLOAT)
        factor = emit.op("Reciprocal", emit.op("Sqrt", depth))
    turned = emit.op("Transpose", key, perm=[0, 1, 3, 2])
    product = emit.op("MatMul", scored(emit, query, turned, factor, bias).weights, value)
    return emit.reshape(emit.op("Transpose", product, perm=[0, 2, 1, 3]), (0, 0, -1))


def _bias(given: Given, mask: int, query: str, key: str, past: Sequence[str]) -> str | None:
    """What is added to the scores. mask: number of the input, which the one with other summands follows at 5."""
    terms = [_masked(given, given.node.input[mask], key)] if given.has(mask) else []
    if attribute(given.node, "unidirectional", 0):
        terms.append(_ahead(given, query, key, past))
    if given.has(5):
        terms.append(given.node.input[5])
    bias = None
    for term in terms:
        bias = given.emit.plus(term, bias)
    return bias


def _masked(given: Given, mask: str, key: str) -> str:
    """What is added to the scores: a mask of rank 1 has lengths, of rank 2 or 3 it is 1 where a key is seen."""
    emit, rank = given.emit, given.ranks.get(mask)
    if rank == 1:
        lengths = given.unsqueezed(emit.op("Cast", mask, to=TensorProto.INT64), 1, 2, 3)
        seen = emit.op("Less", given.counted(given.extent(key, 2)), lengths)
    elif rank in (2, 3):
        seen = given.unsqueezed(emit.op("Cast", mask, to=TensorProto.BOOL), *((1, 2) if rank == 2 else (1,)))
    else:
        found = "an unknown number of" if rank is None else rank
        raise UserError(f"{given.where}: a mask of {found} dimensions is not supported, only of 1 to 3")
    return _hidden(given, seen, attribute(given.node, "mask_filter_value", _HIDDEN))


def _ahead(given: Given, query: str, key: str, past: Sequence[str]) -> str:
    """Hides the keys that come after a query, whose place is behind the past ones."""
    emit = given.emit
    places = given.counted(given.extent(query, 2))
    if past:
        places = emit.op("Add", places, given.extent(past[0], 2))
    later = emit.op("Greater", given.counted(given.extent(key, 2)), given.unsqueezed(places, 1))
    return _hidden(given, emit.op("Not", later), float(np.finfo(np.float32).min))


def _hidden(given: Given, seen: str, value: float) -> str:
    return given.emit.op("Where", seen, given.number(0.0), given.number(value))
