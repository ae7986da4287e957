"""Attention by tiles of bfloat16, against numpy with the same factors."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.machine import AMX, Machine
from gacer_tune.kernels.narrow_attention import NarrowAttention, candidates, fits, items
from gacer_tune.kernels.pack import bfloat16
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import Tensor, dense
from tests.kernels.test_bmm import shared
from tests.kernels.test_narrow import ROUNDED, widened, with_tiles
from tests.support.kernels import (
    Array,
    Operand,
    bits,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    normal,
    operand,
    outputs,
    programs,
    seeds,
    views,
)


@st.composite
def specs(draw: st.DrawFn) -> NarrowAttention:
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    m, n = draw(st.sampled_from((1, 7, 16, 33, 70))), draw(st.sampled_from((1, 3, 16, 21, 37, 70)))
    d, e = draw(st.sampled_from((1, 13, 32, 64))), draw(st.sampled_from((1, 7, 16, 24, 33)))
    query, keys, values = (draw(shared(batch, shape)) for shape in ((m, d), (d, n), (n, e)))
    if draw(st.booleans()):  # as products write them: rows of heads, keys turned
        query, values = dense((*batch, m, d)), dense((*batch, n, e))
        rows = dense((*batch, n, d))
        keys = Tensor((*batch, d, n), (*rows.strides[:-2], 1, d))
    dtypes = [draw(st.sampled_from(("float32", "bfloat16"))) for _ in range(4)]
    tensors = (query, keys, values, draw(views((*batch, m, e))))
    stored = (replace(tensor, dtype=dtype) for tensor, dtype in zip(tensors, dtypes, strict=True))
    return NarrowAttention(*stored, draw(programs((*batch, m, n))))


def filled(tensor: Tensor, seed: int) -> tuple[Operand, Array]:
    """Random values, and what tiles make of them. Axes of stride 0 hold one value for all."""
    kept = tuple(extent if stride else 1 for extent, stride in zip(tensor.shape, tensor.strides, strict=True))
    values = normal(seed, kept)
    narrow = bfloat16(values)
    found = operand(tensor, narrow if tensor.dtype == "bfloat16" else values)
    return found, np.broadcast_to(widened(narrow), tensor.shape).astype(np.float64)


def reference(query: Array, keys: Array, values: Array, scores: Program, rest: list[Array]) -> Array:
    products = evaluated(scores, query @ keys, rest)
    weights = np.exp(products - products.max(-1, keepdims=True))
    rounded = widened(bfloat16(weights.astype(np.float32))).astype(np.float64)
    found: Array = rounded @ values / weights.sum(-1, keepdims=True)
    return found


@few(40)
@given(specs(), st.sampled_from(with_tiles()), seeds, cuts)
def test_matches_numpy(spec: NarrowAttention, machine: Machine, seed: int, cut: float) -> None:
    pairs = [filled(tensor, seed + 50 * i) for i, tensor in enumerate((spec.query, spec.keys, spec.values))]
    rest = epilogue(spec.scores, seed)
    expected = reference(*(values for _, values in pairs), spec.scores, [gate.array for gate in rest])
    found = outputs(spec, [*(given_ for given_, _ in pairs), *rest], machine, cut)
    found = widened(found) if spec.out.dtype == "bfloat16" else found
    assert error(found, expected) <= ROUNDED


def test_stored_as_bfloat16_and_rounded_on_the_way_are_the_same() -> None:
    """Keys that are turned by words, and element by element."""
    narrow = [
        dense((3, 50, 64), "bfloat16"),
        Tensor((3, 64, 50), (3200, 1, 64), "bfloat16"),
        dense((3, 50, 48), "bfloat16"),
    ]
    wide = [dense((3, 50, 64)), dense((3, 64, 50)), dense((3, 50, 48))]
    arrays = [bfloat16(normal(i, tensor.shape)) for i, tensor in enumerate(wide)]
    for machine in with_tiles():
        found = []
        for tensors, change in ((narrow, np.asarray), (wide, widened)):
            spec = NarrowAttention(*tensors, dense((3, 50, 48)))
            operands = [operand(tensor, change(array)) for tensor, array in zip(tensors, arrays, strict=True)]
            found.append(bits(outputs(spec, operands, machine)))
        assert found[0] == found[1]


def test_few_blocks_of_rows_and_room_on_the_stack() -> None:
    spec = NarrowAttention(dense((12, 197, 64)), dense((12, 64, 197)), dense((12, 197, 64)), dense((12, 197, 64)))
    assert fits(spec) and {items(spec, tile, AMX) for tile in candidates(spec, AMX)} <= {12, 24, 36, 48}
    assert not fits(replace(spec, keys=dense((12, 64, 9000)), values=dense((12, 9000, 64))))
