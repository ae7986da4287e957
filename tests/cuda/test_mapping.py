"""Kernels that copy, convert and compute element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.gather import Gather
from gacer_tune.kernels.mapping import copy, fill, mapping
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Source, candidates, items
from gacer_tune.kernels.tensor import STORED, Tensor, dense
from tests.cuda.emulator import emulate
from tests.cuda.variants import ROUNDED, STORING, case, outputs, stored
from tests.kernels import test_gather
from tests.support.kernels import cuts, few, operand, seeds, views

gpus = st.sampled_from(STORING)
GPU = Gpu()
shapes = st.lists(st.sampled_from((1, 2, 3, 7, 8, 24, 40)), min_size=1, max_size=3).map(tuple)


@few(8)
@given(shapes, gpus, st.data(), seeds, cuts)
def test_a_program_on_views(shape: tuple[int, ...], gpu: Gpu, data: st.DataObject, seed: int, cut: float) -> None:
    last = Tensor(shape, (*(0 for _ in shape[1:]), 1))
    steps = (
        Step("mul", (Arg("operand", 0), Arg("operand", 1))),
        Step("sigmoid", (Arg("step", 0),)),
        Step("add", (Arg("step", 1), Arg("operand", 2))),
    )
    program = Program(steps, (data.draw(views(shape)), data.draw(views(shape)), last))
    spec = stored(mapping(data.draw(views(shape)), program), gpu)
    assert case(spec, gpu, [], np.zeros(()), seed).error(cut=cut) <= ROUNDED[gpu.precision]


@few(10)
@given(shapes, st.data(), seeds, cuts)
def test_copies_change_order_and_type(shape: tuple[int, ...], data: st.DataObject, seed: int, cut: float) -> None:
    same = [(dtype, dtype) for dtype in sorted(STORED)]
    kinds = data.draw(st.sampled_from([("float32", "float16"), ("float16", "float32"), *same]))
    source, out = (data.draw(views(shape, dtype)) for dtype in kinds)
    spec = copy(source, out)
    values = np.random.default_rng(seed).integers(0, 2, spec.out.shape).astype(kinds[0])
    given_ = operand(spec.program.operands[0], values)
    assert np.array_equal(outputs(spec, candidates(spec, GPU), GPU, [given_], cut), values)


@pytest.mark.parametrize("gpu", STORING)
def test_operands_may_start_anywhere(gpu: Gpu) -> None:
    """A slice of a value starts at any of its elements, so vectors of it are not aligned."""
    tensor = dense((3, 48), gpu.dtype)
    add = Program((Step("add", (Arg("operand", 0), Arg("operand", 1))),), (tensor, tensor))
    spec = mapping(tensor, add)
    source = source_of(Source(spec, candidates(spec, gpu)[0], gpu).emit("kernel"), gpu)
    for skews in ((0, 0, 0), (1, 0, 3), (0, 2, 0)):
        arrays = [np.arange(200, dtype=gpu.dtype)[skew : skew + 144] for skew in skews]
        expected = arrays[0] + arrays[1]
        assert [array.ctypes.data % 16 != 0 for array in arrays] == [skew != 0 for skew in skews]
        emulate(source, gpu, arrays, 0, items(spec, candidates(spec, gpu)[0], gpu))
        assert np.array_equal(arrays[2], expected)


def test_values_are_filled_in() -> None:
    spec = fill(dense((3, 5), "int64"), 7)
    assert (outputs(spec, candidates(spec, GPU), GPU, []) == 7).all()


@few(6)
@given(test_gather.specs(), seeds, cuts)
def test_gather_matches_numpy(spec: Gather, seed: int, cut: float) -> None:
    rng, extent, spec = np.random.default_rng(seed), spec.table.shape[spec.axis], stored(spec, GPU)
    table = rng.integers(0, 2 if spec.table.dtype == "bool" else 100, spec.table.shape).astype(spec.table.dtype)
    indices = rng.integers(-extent, extent, spec.indices.shape)
    inputs = [operand(spec.table, table), operand(spec.indices, indices)]
    found = outputs(spec, candidates(spec, GPU), GPU, inputs, cut)
    assert np.array_equal(found, np.take(table, indices, spec.axis))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_indices_out_of_range_read_the_nearest_row(dtype: str) -> None:
    wild = np.array([-(2**31), -7, -6, -1, 0, 5, 6, 2**31 - 1], dtype)
    spec = Gather(dense((6, 3)), dense((8,), dtype), dense((8, 3)), 0)
    table = np.arange(18, dtype=np.float32).reshape(6, 3)
    found = outputs(spec, candidates(spec, GPU), GPU, [operand(spec.table, table), operand(spec.indices, wild)])
    assert np.array_equal(found, table[[0, 0, 0, 5, 0, 5, 5, 5]])
