"""A Winograd convolution computes the convolution: the transforms alone, and its three kernels in a row."""

import math
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels import pack
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.emit.winograd_conv import emit
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from gacer_tune.kernels.winograd import WAYS, Filtering, apply_rows, transformed, window_points
from gacer_tune.kernels.winograd_conv import Run, WinogradConv, candidates, items, pays
from gacer_tune.kernels.winograd_input import WinogradInput
from gacer_tune.kernels.winograd_output import WinogradOutput
from gacer_tune.lowering.winograd import choose
from tests.support.kernels import (
    Array,
    Operand,
    bits,
    call,
    compiled,
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


@dataclass(frozen=True, slots=True)
class Case:
    """A convolution by Winograd's filtering, with what it reads; made: what it makes before pooling."""

    way: Filtering
    pad: tuple[int, int]
    source: Array
    weight: Array
    made: tuple[int, ...]
    program: Program
    rest: list[Operand]
    machine: Machine
    cut: float
    pool: int = 1

    @property
    def kept(self) -> Tensor:
        n, h, w, o = self.made
        return dense((n, h // self.pool, w // self.pool, o))

    def by_three_kernels(self) -> Array:
        (c, o), points = self.weight.shape[1::-1], self.way.points
        before, after = (transformed(self.kept, self.way, channels, self.pool) for channels in (c, o))
        image = operand(dense(self.source.shape), self.source)
        moved = outputs(WinogradInput(image.tensor, before, self.way, self.pad), [image], self.machine, self.cut)
        flat, count = (1, 1, prod(before.shape[:3]), before.shape[3]), prod(before.shape[:3])
        spec = Conv2d(dense(flat), dense((1, 1, count, after.shape[3])), groups=points)
        packed = pack.conv_weight(window_points(self.weight, self.way), points, self.machine)
        gates = [operand(dense(flat), moved.reshape(flat)), operand(spec.weight(self.machine), packed)]
        product = operand(after, outputs(spec, gates, self.machine, self.cut).reshape(after.shape))
        finish = WinogradOutput(after, self.kept, self.way, self.program, self.pool)
        return outputs(finish, [product, *self.rest], self.machine, self.cut)

    def by_one_kernel(self) -> Array:
        image = operand(dense(self.source.shape), self.source)
        spec = WinogradConv(image.tensor, self.kept, self.way, self.pad, self.program, self.pool)
        packed = pack.winograd_weight(window_points(self.weight, self.way), self.way.points, self.machine)
        weight = operand(spec.weight(self.machine), packed)
        return outputs(spec, [image, weight, *self.rest], self.machine, self.cut)

    def directly(self) -> Array:
        image, made = self.source.shape[1:3], self.made[1:3]
        window = Window((self.way.r, self.way.r), (1, 1), self.pad, (1, 1), (image[0], image[1]), (made[0], made[1]))
        found = convolved(self.source, self.weight, 1, window)
        found = evaluated(self.program, found, [each.array for each in self.rest])
        (n, h, w, o), pool = self.kept.shape, self.pool
        return found[:, : h * pool, : w * pool].reshape(n, h, pool, w, pool, o).max(axis=(2, 4))


@st.composite
def cases(draw: st.DrawFn, packs: bool = False) -> Case:
    """packs: whole packs of output channels, not just whole vectors."""
    machine, way, seed = draw(st.sampled_from(machines())), draw(st.sampled_from(WAYS)), draw(seeds)
    n, h, w = draw(st.integers(1, 2)), draw(st.integers(way.r, 11)), draw(st.integers(way.r, 11))
    c = machine.vector * draw(st.integers(1, 3))
    o = (machine.pack if packs else machine.vector) * draw(st.integers(1, 3))
    pad = (draw(st.integers(0, way.r // 2)), draw(st.integers(0, way.r // 2)))
    made = (n, h + 2 * pad[0] - way.r + 1, w + 2 * pad[1] - way.r + 1, o)
    program = draw(programs(made))
    source, weight = normal(seed, (n, h, w, c)), normal(seed + 1, (o, c, way.r, way.r))
    pool = 2 if min(made[1:3]) > 1 and draw(st.booleans()) else 1
    return Case(way, pad, source, weight, made, program, epilogue(program, seed), machine, draw(cut_places), pool)


@few(9)
@given(cases())
def test_three_kernels_convolve(case: Case) -> None:
    assert error(case.by_three_kernels(), case.directly()) <= 1e-4


@few(6)
@given(cases(packs=True))
def test_one_kernel_has_the_bits_of_three(case: Case) -> None:
    assert bits(case.by_one_kernel()) == bits(case.by_three_kernels())


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


@pytest.mark.parametrize(
    ("size", "inputs", "outputs", "one"),
    [
        pytest.param(56, 64, 64, True, id="few channels"),
        pytest.param(28, 256, 256, True, id="9 MiB of weights"),
        pytest.param(28, 256, 512, False, id="18 MiB of weights"),
        pytest.param(28, 512, 64, False, id="no room for eight tiles"),
        pytest.param(14, 256, 256, False, id="16 tiles"),
        pytest.param(56, 72, 72, False, id="a part of a pack of channels"),
    ],
)
def test_one_kernel_where_it_pays(size: int, inputs: int, outputs: int, one: bool) -> None:
    spec = WinogradConv(dense((1, size, size, inputs)), dense((1, size, size, outputs)), Filtering(4, 3), (1, 1))
    assert pays(spec, MACHINES["avx2"]) == one


def test_runs_fit_the_cache_and_share_evenly() -> None:
    machine = MACHINES["avx2"]
    for size, channels in ((224, 64), (56, 64), (28, 128), (28, 256)):
        shape = dense((1, size, size, channels))
        spec = WinogradConv(shape, shape, Filtering(4, 3), (1, 1))
        for tile in candidates(spec, machine):
            assert tile.rows * tile.high * 36 * channels * 4 <= machine.l2 // 2
    # 49 tiles: 10 register tiles, not 9; where none is left to cut, the shortest run is a thinner one.
    assert candidates(spec, machine) == [Run(5, 1), Run(4, 1), Run(3, 1)]


@pytest.mark.parametrize(
    ("way", "size", "pad"), [(WAYS[0], (8, 16), (1, 1)), (WAYS[1], (8, 16), (1, 1)), (WAYS[2], (5, 10), (2, 1))]
)
def test_runs_of_any_length_have_the_same_bits(way: Filtering, size: tuple[int, int], pad: tuple[int, int]) -> None:
    """Also of four tiles, which the compiler unrolls, and then fuses products with other sums than in a loop."""
    machine = MACHINES["avx2"]
    made = [extent + 2 * around - way.r + 1 for extent, around in zip(size, pad, strict=True)]
    source, weight = normal(1, (1, *size, 16)), normal(2, (32, 16, way.r, way.r))
    image = operand(dense(source.shape), source)
    spec = WinogradConv(image.tensor, dense((1, *made, 32)), way, pad)
    packed = pack.winograd_weight(window_points(weight, way), way.points, machine)
    operands = [image, operand(spec.weight(machine), packed)]
    found = set()
    for tile in (Run(2, 1), Run(3, 1), Run(2, 2), Run(4, 1), Run(5, 2)):
        kernel = compiled(emit(spec, tile, machine, "kernel"), machine, "kernel")
        out = Operand(spec.out)
        call(kernel, [*operands, out], 0, items(spec, tile, machine))
        found.add(bits(out.array))
    assert spec.count % 4 == 0 and len(found) == 1


def test_transforms_multiply_by_powers_of_two_only() -> None:
    """All else would be rounded before it is added, or not: as the compiler likes."""

    class Number(float):
        def __mul__(self, factor: float) -> "Number":
            assert math.log2(abs(factor)) % 1 == 0
            return Number(float(self) * factor)

    for way in WAYS:
        for matrix in (way.image, way.output):
            values = [Number(v) for v in range(1, len(matrix[0]) + 1)]
            assert apply_rows(matrix, list(values)) == list(np.array(matrix) @ np.array(values))
