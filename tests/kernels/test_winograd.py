"""A Winograd convolution computes the convolution: the transforms alone, and its three kernels in a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels import pack
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.window import Window
from gacer_tune.kernels.winograd import WAYS, Filtering, apply_rows, tiles, transformed, window_points
from gacer_tune.kernels.winograd_input import WinogradInput
from gacer_tune.kernels.winograd_output import WinogradOutput
from gacer_tune.lowering.winograd import choose
from tests.support.kernels import (
    convolved,
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
)
from tests.support.kernels import cuts as cut_places


@pytest.mark.parametrize("way", WAYS)
def test_transforms_are_a_filter(way: Filtering) -> None:
    """In exact numbers: A^T [(G g) * (B^T d)] slides g over d."""
    rng = np.random.default_rng(way.m)
    g, d = rng.standard_normal(way.r), rng.standard_normal(way.extent)
    found = np.array(way.output) @ ((np.array(way.window) @ g) * (np.array(way.image) @ d))
    assert np.allclose(found, np.correlate(d, g, "valid"), atol=1e-12)


def test_apply_rows_is_a_product() -> None:
    values = list(np.random.default_rng(0).standard_normal((6, 4)))
    for way in WAYS[1:]:
        for matrix in (way.output, way.image):
            assert np.allclose(apply_rows(matrix, values), np.array(matrix) @ np.stack(values))


@few(9)
@given(st.data(), st.sampled_from(machines()), st.sampled_from(WAYS), seeds, cut_places)
def test_three_kernels_convolve(data: st.DataObject, machine: Machine, way: Filtering, seed: int, cut: float) -> None:
    n, h, w = data.draw(st.integers(1, 2)), data.draw(st.integers(way.r, 11)), data.draw(st.integers(way.r, 11))
    c, o = (machine.vector * data.draw(st.integers(1, 3)) for _ in range(2))
    most = way.r // 2
    pad = (data.draw(st.integers(0, most)), data.draw(st.integers(0, most)))
    made = (n, h + 2 * pad[0] - way.r + 1, w + 2 * pad[1] - way.r + 1, o)
    program = data.draw(programs(made))
    source, weight, rest = normal(seed, (n, h, w, c)), normal(seed + 1, (o, c, way.r, way.r)), epilogue(program, seed)
    before, after = (transformed(dense(made), way, channels) for channels in (c, o))
    count = n * tiles(dense(made), way.m)[0] * tiles(dense(made), way.m)[1]
    moved = outputs(
        WinogradInput(dense(source.shape), before, way, pad), [operand(dense(source.shape), source)], machine, cut
    )
    flat = (1, 1, count, before.shape[3])
    spec = Conv2d(dense(flat), dense((1, 1, count, after.shape[3])), groups=way.points)
    packed = pack.conv_weight(window_points(weight, way), way.points, machine)
    gates = [operand(dense(flat), moved.reshape(flat)), operand(spec.weight(machine), packed)]
    product = outputs(spec, gates, machine, cut).reshape(after.shape)
    found = outputs(WinogradOutput(after, dense(made), way, program), [operand(after, product), *rest], machine, cut)
    window = Window((way.r, way.r), (1, 1), pad, (1, 1), (h, w), (made[1], made[2]))
    expected = evaluated(program, convolved(source, weight, 1, window), [gate.array for gate in rest])
    assert error(found, expected) <= 1e-4


def test_choice_of_the_way() -> None:
    """Large images by large tiles, small ones with many channels by small ones, what cannot be transformed directly."""
    vector = MACHINES["avx2"].vector

    def spec(size: int, channels: int, **others: object) -> Conv2d:
        shape = dense((1, size, size, channels))
        return Conv2d(shape, shape, **{"window": (3, 3), "pad": (1, 1), **others})  # type: ignore[arg-type]

    assert choose(spec(56, 64), vector) == Filtering(4, 3)
    assert choose(spec(7, 512), vector) == Filtering(2, 3)
    assert choose(spec(27, 64, window=(5, 5), pad=(2, 2)), vector) == Filtering(2, 5)
    assert choose(spec(27, 64, window=(1, 5), pad=(0, 2)), vector) is None
    assert choose(spec(56, 64, dilation=(2, 2)), vector) is None
    assert choose(spec(56, 64, groups=2), vector) is None
    assert choose(spec(56, 12), vector) is None
    assert choose(spec(1, 2048), vector) is None
