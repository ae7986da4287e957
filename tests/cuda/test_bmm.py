import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from gacer_tune.kernels.cuda.product import ProductTile
from gacer_tune.kernels.rules import candidates
from gacer_tune.kernels.tensor import Tensor, dense
from tests.cuda.variants import EXACT, PRECISIONS, SMALL, Case, case, rounded, stored
from tests.support.kernels import cuts, few, normal, operand, programs, seeds, views


def product(spec: BatchMatmul, gpu: Gpu, seed: int = 0) -> Case:
    """Random matrices and their product in double precision, of the values that are multiplied."""
    left, right = normal(seed, spec.left.shape), normal(seed + 9, spec.right.shape)
    expected = rounded(left, gpu).astype("float64") @ rounded(right, gpu).astype("float64")
    return case(spec, gpu, [operand(spec.left, left), operand(spec.right, right)], expected, seed)


@st.composite
def specs(draw: st.DrawFn, gpu: Gpu) -> BatchMatmul:
    batch = draw(st.sampled_from(((), (2,), (2, 3))))
    m, n, k = draw(st.sampled_from((1, 5, 40))), draw(st.sampled_from((1, 16, 35))), draw(st.sampled_from((3, 16, 72)))
    shapes = ((*batch, m, k), (*batch, k, n), (*batch, m, n))
    left, right, out = (draw(views(shape)) for shape in shapes)
    return stored(BatchMatmul(left, right, out, draw(programs(out.shape))), gpu)


@few(3)
@given(st.data(), st.sampled_from(PRECISIONS), seeds, cuts)
def test_matches_numpy(data: st.DataObject, precision: Precision, seed: int, cut: float) -> None:
    gpu = Gpu(precision=precision)
    spec = data.draw(specs(gpu))
    tiles = [data.draw(st.sampled_from(SMALL)), data.draw(st.sampled_from(candidates(spec, gpu)))]
    assert product(spec, gpu, seed).error(tiles, cut) <= EXACT[precision]


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
    made = product(BatchMatmul(left, right, out), gpu)
    assert made.error([ProductTile(64, 64, 32), ProductTile(16, 32, 16)]) <= EXACT[precision]
