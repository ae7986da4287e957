from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from gacer_tune.kernels.cuda.product import TILES, ProductTile
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.rules import candidates
from gacer_tune.kernels.tensor import Tensor, dense
from tests.cuda.variants import EXACT, outputs, rounded
from tests.support.kernels import close, cuts, evaluated, few, normal, operand, programs, seeds, views

PRECISIONS: tuple[Precision, ...] = ("fp16", "tf32", "fp32")
SMALL = tuple(tile for tile in TILES if tile.rows * tile.columns <= 64 * 64)


def check(spec: BatchMatmul, tiles: list[ProductTile], gpu: Gpu, seed: int = 0, cut: float = 0.4) -> None:
    left, right = normal(seed, spec.left.shape), normal(seed + 9, spec.right.shape)
    rest = [operand(tensor, normal(seed + 1 + i, tensor.shape)) for i, tensor in enumerate(spec.program.operands)]
    found = outputs(spec, tiles, gpu, [operand(spec.left, left), operand(spec.right, right), *rest], cut)
    expected = rounded(left, gpu).astype("float64") @ rounded(right, gpu).astype("float64")
    close(found, evaluated(spec.program, expected, [one.array for one in rest]), EXACT[gpu.precision])


@st.composite
def specs(draw: st.DrawFn, gpu: Gpu) -> BatchMatmul:
    batch = draw(st.sampled_from(((), (2,), (2, 3))))
    m, n, k = draw(st.sampled_from((1, 5, 40))), draw(st.sampled_from((1, 16, 35))), draw(st.sampled_from((3, 16, 72)))
    shapes = ((*batch, m, k), (*batch, k, n), (*batch, m, n))
    left, right, out = (replace(draw(views(shape)), dtype=gpu.dtype) for shape in shapes)
    program = draw(programs(out.shape))
    operands = tuple(replace(tensor, dtype=gpu.dtype) for tensor in program.operands)
    return BatchMatmul(left, right, out, Program(program.steps, operands))


@few(3)
@given(st.data(), st.sampled_from(PRECISIONS), seeds, cuts)
def test_matches_numpy(data: st.DataObject, precision: Precision, seed: int, cut: float) -> None:
    gpu = Gpu(precision=precision)
    spec = data.draw(specs(gpu))
    tiles = [data.draw(st.sampled_from(SMALL)), data.draw(st.sampled_from(candidates(spec, gpu)))]
    check(spec, tiles, gpu, seed, cut)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("transposed", [False, True])
def test_attention(precision: Precision, transposed: bool) -> None:
    """Heads side by side in memory: (sequence, heads, size) read as (heads, sequence, size), and turned for keys."""
    gpu, heads, length, size = Gpu(precision=precision), 2, 24, 16
    side_by_side = (size, heads * size, 1)
    if transposed:  # queries by keys
        left = Tensor((heads, length, size), side_by_side, gpu.dtype)
        right = Tensor((heads, size, length), (size, 1, heads * size), gpu.dtype)
        out = dense((heads, length, length), gpu.dtype)
    else:  # weights by values
        left = dense((heads, length, length), gpu.dtype)
        right = Tensor((heads, length, size), side_by_side, gpu.dtype)
        out = Tensor((heads, length, size), side_by_side, gpu.dtype)
    check(BatchMatmul(left, right, out), [ProductTile(64, 64, 32), ProductTile(16, 32, 16)], gpu)
