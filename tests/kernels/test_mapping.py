"""Elementwise kernels on strided views."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.mapping import copy, fill, mapping, turns
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import NBYTES, Tensor, contiguous, dense
from tests.support.kernels import (
    TOLERANCE,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    machines,
    operand,
    outputs,
    seeds,
    views,
)

shapes = st.lists(st.sampled_from((1, 2, 3, 7, 8, 24, 41)), max_size=3).map(tuple)


@few(12)
@given(shapes, st.data(), st.sampled_from(machines()), seeds, cuts)
def test_a_program_on_views(
    shape: tuple[int, ...], data: st.DataObject, machine: Machine, seed: int, cut: float
) -> None:
    steps = (
        Step("mul", (Arg("operand", 0), Arg("operand", 1))),
        Step("sigmoid", (Arg("step", 0),)),
        Step("add", (Arg("step", 1), Arg("operand", 2))),
    )
    last = Tensor(shape, tuple(int(axis == len(shape) - 1) for axis in range(len(shape))))
    spec = mapping(data.draw(views(shape)), Program(steps, (data.draw(views(shape)), data.draw(views(shape)), last)))
    inputs = epilogue(spec.program, seed)
    expected = evaluated(spec.program, np.zeros(()), [found.array for found in inputs])
    assert error(outputs(spec, inputs, machine, cut), expected) <= TOLERANCE


@few(10)
@given(shapes, st.sampled_from(sorted(NBYTES)), st.data(), st.sampled_from(machines()), seeds, cuts)
def test_copies_change_the_order(
    shape: tuple[int, ...], dtype: str, data: st.DataObject, machine: Machine, seed: int, cut: float
) -> None:
    spec = copy(data.draw(views(shape, dtype)), data.draw(views(shape, dtype)))
    values = np.random.default_rng(seed).integers(0, 2, spec.out.shape).astype(dtype)
    assert np.array_equal(outputs(spec, [operand(spec.program.operands[0], values)], machine, cut), values)


@few(12)
@given(
    st.sampled_from([(16, 16), (21, 40), (64, 33), (100, 17), (67, 200), (3, 32, 24), (2, 48, 19), (2, 5, 32, 16)]),
    st.integers(0, 3), st.sampled_from(machines()), seeds, cuts,
)  # fmt: skip
def test_copies_that_exchange_two_axes_transpose_squares(
    shape: tuple[int, ...], gap: int, machine: Machine, seed: int, cut: float
) -> None:
    """Whatever does not fill a square is copied one by one; what lies between the operand's elements is not read."""
    *outer, rows, columns = shape
    pitch = rows + gap
    strides = (*(columns * pitch * stride for stride in contiguous(tuple(outer))), 1, pitch)
    spec = copy(Tensor(shape, strides), dense(shape))
    assert turns(spec, machine)
    values = np.random.default_rng(seed).standard_normal(spec.out.shape, np.float32)
    assert np.array_equal(outputs(spec, [operand(spec.program.operands[0], values)], machine, cut), values)


@pytest.mark.parametrize(
    ("shape", "strides", "dtype"),
    [
        ((32, 32), (32, 1), "float32"),
        ((32, 32), (64, 2), "float32"),
        ((32, 32), (1, 0), "float32"),
        ((32, 32), (1, 32), "float64"),
        ((32, 32), (1, 32), "bfloat16"),
        ((32, 4), (1, 32), "float32"),
        ((2, 33, 32), (2048, 1, 33), "float32"),
    ],
)
def test_other_copies_transpose_nothing(shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> None:
    assert not turns(copy(Tensor(shape, strides, dtype), dense(shape, dtype)), machines()[0])


def test_values_are_filled_in() -> None:
    assert (outputs(fill(dense((3, 5), "int64"), 7), [], machines()[0]) == 7).all()


@pytest.mark.parametrize(
    ("source", "out", "merged"),
    [
        (dense((2, 3, 4)), dense((2, 3, 4)), (24,)),
        (dense((2, 1, 4)), Tensor((2, 1, 4), (1, 8, 2)), (4, 2)),
        (Tensor((2, 3), (1, 2)), Tensor((2, 3), (1, 2)), (6,)),
        (Tensor((2, 3), (0, 1)), dense((2, 3)), (2, 3)),
        (dense((1, 1)), dense((1, 1)), (1,)),
        (dense(()), dense(()), (1,)),
    ],
)
def test_axes_are_merged_in_the_order_of_the_output(source: Tensor, out: Tensor, merged: tuple[int, ...]) -> None:
    spec = copy(source, out)
    assert spec.out.shape == spec.program.operands[0].shape == merged
