"""Kernels whose threads fold values together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.reduce import Kind, Reduce
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.rules import candidates
from gacer_tune.kernels.tensor import Tensor, dense
from tests.cuda.variants import ROUNDED, STORING, case, outputs, stored
from tests.kernels import test_channel_norm, test_reduce, test_rows
from tests.support.kernels import Array, Operand, cuts, few, normal, operand, seeds

gpus = st.sampled_from(STORING)
FP32 = Gpu(precision="fp32")


def factors_of(spec: Rows | ChannelNorm, seed: int) -> tuple[list[Operand], Array | float, Array | float]:
    """Operands of scale and bias, those that there are, and their values."""
    scale, bias = (
        None if t is None else operand(t, normal(seed + i, t.shape)) for i, t in ((7, spec.scale), (8, spec.bias))
    )
    given = [one for one in (scale, bias) if one is not None]
    return given, 1.0 if scale is None else scale.array, 0.0 if bias is None else bias.array


@few(8)
@given(test_rows.specs(), gpus, seeds, cuts)
def test_rows_match_numpy(spec: Rows, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    source = operand(spec.source, normal(seed, spec.source.shape) * 3)
    factors, scale, bias = factors_of(spec, seed)
    made = case(spec, gpu, [source, *factors], test_rows.reference(spec, source.array, scale, bias), seed)
    assert made.error(cut=cut) <= ROUNDED[gpu.precision]


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "layer_norm"])
@pytest.mark.parametrize("extent", [1500, 20000, 20001])
def test_long_rows_are_shared_by_more_threads(kind: test_rows.Kind, extent: int) -> None:
    """1500 are kept in registers, 20000 are read again; 20001 do not come in vectors."""
    spec = Rows(dense((1, extent)), dense((1, extent)), kind)
    source = operand(spec.source, normal(3, (1, extent)))
    made = case(spec, FP32, [source], test_rows.reference(spec, source.array, 1.0, 0.0))
    assert made.error() <= ROUNDED["fp32"]


def test_masked_and_huge_values_leave_softmax_exact() -> None:
    source = np.array([[1e30, 1e30, -np.inf, 0.0], [-1e9, -1e9, -1e9, 5.0]], np.float32)
    spec = Rows(dense((2, 4)), dense((2, 4)), "softmax")
    found = outputs(spec, candidates(spec, FP32), FP32, [operand(spec.source, source)])
    assert np.abs(found - np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1]])).max() < 1e-30


@few(8)
@given(test_reduce.specs(), gpus, seeds, cuts)
def test_reduce_matches_numpy(spec: Reduce, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    values = normal(seed, spec.source.shape)
    if spec.kind == "prod":
        values = 1 + values / 20  # stays far from overflow
    source = operand(spec.source, values)
    made = case(spec, gpu, [source], test_reduce.reference(spec, source.array), seed)
    assert made.error(cut=cut) <= ROUNDED[gpu.precision]


@pytest.mark.parametrize(
    ("kind", "dtype", "axes"),
    [
        ("sum", "int64", (0,)),
        ("prod", "int32", (1,)),
        ("max", "int64", (1,)),
        ("min", "int32", (0,)),
        ("l1", "int32", (1,)),
    ],
)
def test_integers_are_exact(kind: Kind, dtype: str, axes: tuple[int, ...]) -> None:
    kept = (1, 21) if axes == (0,) else (5, 1)
    spec = Reduce(Tensor((5, 21), (22, 1), dtype), dense(kept, dtype), axes, kind)
    source = np.random.default_rng(1).integers(-9, 9, (5, 21)).astype(dtype)
    found = outputs(spec, candidates(spec, FP32), FP32, [operand(spec.source, source)])
    assert found.dtype == dtype
    assert np.array_equal(found, test_reduce.reference(spec, source).astype(dtype))


@pytest.mark.parametrize("strides", [(1, 0), (0, 1)])
def test_long_sums_keep_their_precision(strides: tuple[int, int]) -> None:
    """300000 equal terms: added one after the other, the rounding errors would add up too."""
    source = Tensor((300000, 8), strides)
    spec = Reduce(source, dense((1, 8)), (0,), "sum")
    terms = np.full((1, 8), 300000 * np.float64(np.float32(0.1)))
    tiles = candidates(spec, FP32)[:1]
    found = outputs(spec, tiles, FP32, [operand(source, np.full(source.shape, 0.1, np.float32))])
    assert np.abs(found / terms - 1).max() < 2e-5


@few(12)
@given(test_channel_norm.specs(), gpus, seeds, cuts)
def test_channel_norm_matches_numpy(spec: ChannelNorm, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    source = operand(spec.source, normal(seed, spec.source.shape) + 1)
    factors, scale, bias = factors_of(spec, seed)
    made = case(spec, gpu, [source, *factors], test_channel_norm.reference(spec, source.array, scale, bias), seed)
    assert made.error(cut=cut) <= ROUNDED[gpu.precision]


def test_channels_that_do_not_fill_a_block() -> None:
    """The threads of the other channels read nothing beyond the image, and write nothing."""
    spec = ChannelNorm(dense((1, 4, 21)), dense((1, 4, 21)), 21)
    source = operand(spec.source, normal(3, (1, 4, 21)))
    made = case(spec, FP32, [source], test_channel_norm.reference(spec, source.array, 1.0, 0.0))
    assert made.error() <= ROUNDED["fp32"]
