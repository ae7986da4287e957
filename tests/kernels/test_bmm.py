from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.bmm import BatchMatmul, candidates, grid, items
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.pack import conv_weight
from gacer_tune.kernels.tensor import Tensor, dense
from tests.support.kernels import (
    TOLERANCE,
    Operand,
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
def shared(draw: st.DrawFn, batch: tuple[int, ...], matrix: tuple[int, int]) -> Tensor:
    """A stack of matrices in any layout, perhaps one and the same along some of the batch axes."""
    kept = tuple(extent if draw(st.integers(0, 3)) else 1 for extent in batch)
    view = draw(views((*kept, *matrix)))
    strides = tuple(0 if extent == 1 else stride for extent, stride in zip(kept, view.strides, strict=False))
    return Tensor((*batch, *matrix), (*strides, *view.strides[-2:]))


@st.composite
def specs(draw: st.DrawFn) -> BatchMatmul:
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    m, n = draw(st.sampled_from((1, 2, 5, 6, 13, 33))), draw(st.sampled_from((1, 3, 8, 16, 21, 37, 64)))
    k = draw(st.sampled_from((1, 2, 7, 64, 100)))
    out = draw(views((*batch, m, n)))
    return BatchMatmul(draw(shared(batch, (m, k))), draw(shared(batch, (k, n))), out, draw(programs(out.shape)))


def filled(tensor: Tensor, seed: int) -> Operand:
    """Random values, written once where axes share them."""
    found = Operand(tensor, np.nan)
    part = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.strides)
    found.array[part] = normal(seed, found.array[part].shape)
    return found


@st.composite
def columns(draw: st.DrawFn) -> BatchMatmul:
    """One column, which may lie in a row of something else, and rows in one piece."""
    batch, m = tuple(draw(st.lists(st.integers(1, 3), max_size=2))), draw(st.sampled_from((1, 5, 33)))
    k = draw(st.sampled_from((1, 7, 64, 100, 5000)))
    out, right = draw(views((*batch, m, 1))), draw(shared(batch, (k, 1)))
    return BatchMatmul(dense((*batch, m, k)), right, out, draw(programs(out.shape)))


@few(12)
@given(specs() | columns(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: BatchMatmul, machine: Machine, seed: int, cut: float) -> None:
    left, right = filled(spec.left, seed), filled(spec.right, seed + 50)
    rest = epilogue(spec.program, seed)
    expected = left.array.astype(np.float64) @ right.array.astype(np.float64)
    found = outputs(spec, [left, right, *rest], machine, cut)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE


@st.composite
def weighted(draw: st.DrawFn) -> BatchMatmul:
    """The right matrix is put in by `test_constant_weights`, for its shape is the machine's."""
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    m, n = draw(st.sampled_from((1, 2, 5, 13, 33, 50, 260))), draw(st.sampled_from((1, 3, 8, 16, 21, 37, 70, 130)))
    out = draw(views((*batch, m, n)))
    left = draw(shared(batch, (m, draw(st.sampled_from((1, 2, 7, 64))))))
    return BatchMatmul(left, out, out, draw(programs(out.shape)), constant=True)


@few(12)
@given(weighted(), st.sampled_from(machines()), seeds, cuts)
def test_constant_weights(drawn: BatchMatmul, machine: Machine, seed: int, cut: float) -> None:
    _, _, n, k = drawn.extents
    left, right, rest = filled(drawn.left, seed), normal(seed + 50, (k, n)), epilogue(drawn.program, seed)
    packed = conv_weight(np.ascontiguousarray(right.T)[:, :, None, None], 1, machine).reshape(-1, k, machine.pack)
    spec = replace(drawn, right=dense(packed.shape))
    expected = left.array.astype(np.float64) @ right.astype(np.float64)
    found = outputs(spec, [left, operand(spec.right, packed), *rest], machine, cut)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE


def test_weights_are_read_few_times_and_tiles_of_rows_are_even() -> None:
    """128 rows of 256 values to 1024: halves of the rows, so that two lanes keep theirs, each in tiles of 5 or 6."""
    machine = MACHINES["avx2"]
    spec = BatchMatmul(dense((128, 256)), dense((64, 256, 16)), dense((128, 1024)), constant=True)
    first = candidates(spec, machine)[0]
    assert (first.vectors, first.rows) == (2, 6)
    assert grid(spec, first, machine).row_blocks == 2
    assert all(items(spec, tile, machine) >= 16 for tile in candidates(spec, machine))


def test_many_rows_are_read_half_as_often_where_registers_have_room() -> None:
    """Tiles of 6 rows and four vectors load 10 values for 24 multiply-adds, those of 14 and two 16 for 28."""

    def tiles(m: int, n: int, isa: str) -> list[tuple[int, int]]:
        machine = MACHINES[isa]
        weights = dense((-(-n // machine.pack), 256, machine.pack))
        spec = BatchMatmul(dense((m, 256)), weights, dense((m, n)), constant=True)
        return [(tile.vectors, tile.rows) for tile in candidates(spec, machine)]

    assert tiles(1024, 768, "avx512")[:2] == [(4, 6), (4, 6)]
    assert (2, 14) in tiles(1024, 768, "avx512"), "which is measured beside them"
    few, narrow, small = tiles(128, 768, "avx512"), tiles(1024, 48, "avx512"), tiles(1024, 768, "avx2")
    assert {vectors for vectors, _ in (*few, *narrow, *small)} == {2}


@pytest.mark.parametrize("machine", machines(), ids=lambda machine: str(machine.isa))
def test_reductions_too_long_for_scratch_are_packed_in_chunks(machine: Machine) -> None:
    spec = BatchMatmul(dense((3, 5000)), Tensor((5000, 18), (1, 5000)), dense((3, 18)))
    left, right = normal(1, (3, 5000)), normal(2, (5000, 18))
    found = outputs(spec, [operand(spec.left, left), operand(spec.right, right)], machine)
    assert error(found, left.astype(np.float64) @ right.astype(np.float64)) <= TOLERANCE


def test_attention_has_enough_items_and_packs_the_keys() -> None:
    """12 heads of 64 from (sequence, heads, 64): queries times transposed keys."""
    heads = (98304, 64)
    query, keys = Tensor((1, 12, 128, 64), (*heads, 768, 1)), Tensor((1, 12, 64, 128), (*heads, 1, 768))
    spec = BatchMatmul(query, keys, dense((1, 12, 128, 128)))
    for machine in machines():
        tiles = candidates(spec, machine)
        assert 2 <= len(tiles) <= 6
        assert all(tile.packed and items(spec, tile, machine) >= 12 for tile in tiles)
