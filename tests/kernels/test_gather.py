import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.gather import Gather
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import NBYTES, dense
from tests.support.kernels import cuts, few, machines, operand, outputs, seeds, views


@st.composite
def specs(draw: st.DrawFn) -> Gather:
    table = tuple(draw(st.lists(st.sampled_from((1, 2, 3, 5, 9, 40, 67)), min_size=1, max_size=3)))
    picked = tuple(draw(st.lists(st.integers(1, 5), max_size=2)))
    axis, dtype = draw(st.integers(0, len(table) - 1)), draw(st.sampled_from(sorted(NBYTES)))
    shape = table[:axis] + picked + table[axis + 1 :]
    indices = draw(views(picked, draw(st.sampled_from(("int32", "int64")))))
    return Gather(draw(views(table, dtype)), indices, draw(views(shape, dtype)), axis)


@few(20)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Gather, machine: Machine, seed: int, cut: float) -> None:
    rng, extent = np.random.default_rng(seed), spec.table.shape[spec.axis]
    table = rng.integers(0, 2 if spec.table.dtype == "bool" else 100, spec.table.shape).astype(spec.table.dtype)
    indices = rng.integers(-extent, extent, spec.indices.shape)
    found = outputs(spec, [operand(spec.table, table), operand(spec.indices, indices)], machine, cut)
    assert np.array_equal(found, np.take(table, indices, spec.axis))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_indices_out_of_range_read_the_nearest_row(dtype: str) -> None:
    wild = np.array([-(2**31), -7, -6, -1, 0, 5, 6, 2**31 - 1], dtype)
    spec = Gather(dense((6, 3)), dense((8,), dtype), dense((8, 3)), 0)
    table = np.arange(18, dtype=np.float32).reshape(6, 3)
    found = outputs(spec, [operand(spec.table, table), operand(spec.indices, wild)], machines()[0])
    assert np.array_equal(found, table[[0, 0, 0, 5, 0, 5, 5, 5]])
