from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.attention import Attention, candidates, fits, items
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from tests.kernels.test_bmm import filled, shared
from tests.support.kernels import (
    TOLERANCE,
    Array,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    machines,
    normal,
    operand,
    outputs,
    programs,
    seeds,
    views,
)


@st.composite
def specs(draw: st.DrawFn) -> Attention:
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    m, n = draw(st.sampled_from((1, 2, 5, 7, 13, 33))), draw(st.sampled_from((1, 3, 8, 16, 21, 37, 70)))
    d, e = draw(st.sampled_from((1, 8, 13, 32))), draw(st.sampled_from((1, 7, 16, 24, 33)))
    query, keys, values = (draw(shared(batch, shape)) for shape in ((m, d), (d, n), (n, e)))
    return Attention(query, keys, values, draw(views((*batch, m, e))), draw(programs((*batch, m, n))))


def reference(query: Array, keys: Array, values: Array, scores: Program, rest: list[Array]) -> Array:
    products = evaluated(scores, query.astype(np.float64) @ keys, rest)
    weights = np.exp(products - products.max(-1, keepdims=True))
    found: Array = weights / weights.sum(-1, keepdims=True) @ values
    return found


@few(12)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Attention, machine: Machine, seed: int, cut: float) -> None:
    inputs = [filled(tensor, seed + 50 * i) for i, tensor in enumerate((spec.query, spec.keys, spec.values))]
    rest = epilogue(spec.scores, seed)
    expected = reference(*(given_.array for given_ in inputs), spec.scores, [gate.array for gate in rest])
    assert error(outputs(spec, [*inputs, *rest], machine, cut), expected) <= TOLERANCE


def test_masked_scores_count_for_nothing() -> None:
    """-1e9 is added to the scores of all columns but the first two; huge scores do not overflow."""
    shape = (2, 9, 40)
    mask = np.where(np.arange(40) < 2, 0, -1e9).astype(np.float32)
    steps = (Step("mul", (Arg("acc"), Arg("const", value=100.0))), Step("add", (Arg("step", 0), Arg("operand", 0))))
    program = Program(steps, (Tensor(shape, (0, 0, 1)),))
    spec = Attention(dense((2, 9, 8)), dense((2, 8, 40)), dense((2, 40, 5)), dense((2, 9, 5)), program)
    arrays = [normal(i, t.shape) for i, t in enumerate((spec.query, spec.keys, spec.values))]
    given_ = filled(program.operands[0], 0)
    given_.array[...] = mask
    operands = [operand(t, x) for t, x in zip((spec.query, spec.keys, spec.values), arrays, strict=True)]
    found = outputs(spec, [*operands, given_], machines()[0])
    first = replace(spec, keys=dense((2, 8, 2)), values=dense((2, 2, 5)))
    query, keys, values = arrays[0], arrays[1][..., :2], arrays[2][:, :2]
    assert first.extents == (2, 9, 2, 8, 5)
    assert error(found, reference(100 * query, keys, values, Program(), [])) <= TOLERANCE


def test_heads_have_few_blocks_of_rows() -> None:
    heads = (98304, 64)
    query, keys = Tensor((1, 12, 128, 64), (*heads, 768, 1)), Tensor((1, 12, 64, 128), (*heads, 1, 768))
    spec = Attention(query, keys, query, query)
    for machine in machines():
        tiles = candidates(spec, machine)
        assert {items(spec, tile, machine) for tile in tiles} <= {12, 24, 48}
        assert len(tiles) >= 2


def test_long_sequences_have_no_room() -> None:
    machine = MACHINES["avx2"]
    assert fits((64, 384), (384, 64), machine)
    assert not fits((64, 1024), (1024, 64), machine)
