"""Products whose rows are normalised by their own kernel have the bits of the two kernels."""

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.normed import THINNEST, Normed, candidates, items, layout, pays
from gacer_tune.kernels.pack import conv_weight
from gacer_tune.kernels.program import NOTHING
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.tensor import dense
from tests.support.kernels import (
    Array,
    Operand,
    bits,
    call,
    compiled,
    epilogue,
    error,
    evaluated,
    few,
    machines,
    normal,
    operand,
    programs,
    results,
    rule_of,
    seeds,
    views,
)

AVX2 = MACHINES["avx2"]


@st.composite
def specs(draw: st.DrawFn) -> Normed:
    """The packed weights are put in by `with_weights`, for their shape is the machine's."""
    m, k = draw(st.sampled_from((32, 33, 50, 67, 131, 260))), draw(st.sampled_from((1, 7, 64)))
    shape = m, draw(st.sampled_from((1, 3, 8, 16, 21, 37, 70, 130)))
    kind, rows = draw(st.sampled_from(("layer_norm", "rms_norm"))), draw(views(shape))
    scale = draw(st.sampled_from((None, dense(shape[1:]))))
    bias = draw(st.sampled_from((None, dense(shape[1:])))) if kind == "layer_norm" else None
    product = BatchMatmul(draw(views((m, k))), rows, rows, draw(programs(shape)), constant=True)
    return Normed(product, Rows(rows, rows, kind, 1e-5, scale, bias, draw(programs(shape))))


def with_weights(spec: Normed, weight: Array, machine: Machine) -> tuple[Normed, Operand]:
    packed = conv_weight(np.ascontiguousarray(weight.T)[:, :, None, None], 1, machine).reshape(
        -1, weight.shape[0], machine.pack
    )
    right = dense(packed.shape)
    return replace(spec, product=replace(spec.product, right=right)), operand(right, packed)


def alone(spec: Any, inputs: list[Operand], machine: Machine) -> Array:
    """What the first variant of a kernel computes."""
    rule, emitter = rule_of(spec)
    tile, out = rule.candidates(spec, machine)[0], Operand(spec.out, np.nan)
    kernel = compiled(emitter.emit(spec, tile, machine, "kernel"), machine, "kernel")
    call(kernel, [*inputs, out], 0, rule.items(spec, tile, machine))
    return out.array


@few(10)
@given(specs(), st.sampled_from(machines()), seeds, st.randoms(use_true_random=False))
def test_has_the_bits_of_two_kernels(drawn: Normed, machine: Machine, seed: int, rng: Random) -> None:
    _, _, n, k = drawn.product.extents
    weight = normal(seed, (k, n))
    spec, packed = with_weights(drawn, weight, machine)
    product, norm = spec.product, spec.norm
    left = operand(product.left, normal(seed + 1, product.left.shape))
    before, behind = epilogue(product.program, seed + 20), epilogue(norm.program, seed + 40)
    factors = [operand(one, normal(seed + i, one.shape)) for i, one in ((7, norm.scale), (8, norm.bias)) if one]
    rows = alone(product, [left, packed, *before], machine)
    expected = alone(norm, [operand(norm.source, rows), *factors, *behind], machine)
    found, odd = results(spec, [spec.out], [left, packed, *before, *factors, *behind], machine, rng)
    assert odd == []
    assert bits(found[0]) == bits(expected)
    exact = left.array.astype(np.float64) @ weight.astype(np.float64)
    assert error(rows, evaluated(product.program, exact, [one.array for one in before])) <= 1e-5


def weighted(m: int, n: int, k: int, machine: Machine) -> Normed:
    rows = dense((m, n))
    right = dense((-(-n // machine.pack), k, machine.pack))
    return Normed(BatchMatmul(dense((m, k)), right, rows, NOTHING, constant=True), Rows(rows, rows, "layer_norm"))


@given(st.integers(2 * THINNEST, 2000), st.sampled_from(list(MACHINES.values())))
def test_blocks_of_rows_are_even_and_fill_the_registers(m: int, machine: Machine) -> None:
    spec = weighted(m, 96, 64, machine)
    tiles = candidates(spec, machine)
    for vectors in {tile.vectors for tile in tiles}:
        blocks = [tile.blocks for tile in tiles if tile.vectors == vectors]
        assert blocks == sorted(set(blocks), reverse=True)
    for tile in tiles:
        shape, cells = layout(spec, tile, machine)
        assert cells.items == items(spec, tile, machine) == tile.blocks
        assert m // tile.blocks >= THINNEST
        assert cells.high <= m, "no tile is empty"
        assert tile.vectors * shape.rows + tile.vectors < machine.registers


def test_many_rows_have_wide_register_tiles_too() -> None:
    machine = MACHINES["avx512"]
    assert {tile.vectors for tile in candidates(weighted(1024, 256, 1024, machine), machine)} == {2, 4}
    assert {tile.vectors for tile in candidates(weighted(128, 256, 1024, machine), machine)} == {2}
    assert {tile.vectors for tile in candidates(weighted(1024, 256, 1024, AVX2), AVX2)} == {2}


@pytest.mark.parametrize(
    ("m", "n", "k", "lanes"),
    [
        pytest.param(31, 256, 1024, 2, id="a lane would have too few rows"),
        pytest.param(128, 256, 1024, 3, id="eight blocks are uneven on three lanes"),
        pytest.param(128, 256, 1024, 16, id="more lanes than blocks"),
        pytest.param(128, 4096, 16384, 2, id="rows have no room in the cache"),
    ],
)
def test_where_two_kernels_are_better(m: int, n: int, k: int, lanes: int) -> None:
    assert not pays(weighted(m, n, k, AVX2), AVX2, lanes)
    assert pays(weighted(128, 768, 3072, AVX2), AVX2, 2), "a layer of BERT base"


def test_many_rows_are_even_enough_for_some_odd_numbers_of_lanes() -> None:
    """64 blocks: three lanes have 22, 21 and 21, seven lanes 10 and 9."""
    spec = weighted(1024, 256, 1024, AVX2)
    assert [lanes for lanes in range(1, 17) if pays(spec, AVX2, lanes)] == [1, 2, 3, 4, 5, 6, 8, 11, 13, 16]
