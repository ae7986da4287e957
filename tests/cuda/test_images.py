"""Kernels on images that make each value by itself."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.pack import depthwise_weight
from gacer_tune.kernels.pool import Pool
from gacer_tune.kernels.resize import Resize
from tests.cuda.specs import PRECISIONS, check, stored
from tests.kernels import test_depthwise, test_lrn, test_pool, test_resize
from tests.support.kernels import convolved, cuts, epilogue, evaluated, few, normal, operand, seeds

gpus = st.sampled_from(PRECISIONS)


@few(6)
@given(test_pool.pools(), gpus, seeds, cuts)
def test_pool_matches_a_loop_over_windows(spec: Pool, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    source, rest = operand(spec.source, normal(seed, spec.source.shape)), epilogue(spec.program, seed)
    expected = test_pool.reference(spec, source.array)
    check(spec, gpu, [source, *rest], evaluated(spec.program, expected, [one.array for one in rest]), cut)


@few(6)
@given(test_depthwise.specs(), gpus, seeds, cuts)
def test_depthwise_matches_numpy(spec: Depthwise, gpu: Gpu, seed: int, cut: float) -> None:
    spec, channels = stored(spec, gpu), spec.out.shape[3]
    source, rest = operand(spec.source, normal(seed, spec.source.shape)), epilogue(spec.program, seed)
    weight = normal(seed + 50, (channels, 1, *spec.size)).astype(gpu.dtype)
    packed = operand(spec.weight(gpu), depthwise_weight(weight.astype("float32"), gpu))
    expected = convolved(source.array, weight, channels, spec.window)
    check(spec, gpu, [source, packed, *rest], evaluated(spec.program, expected, [one.array for one in rest]), cut)


@few(4)
@given(test_resize.specs(), gpus, seeds, cuts)
def test_resize_matches_numpy(spec: Resize, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    source, rest = operand(spec.source, normal(seed, spec.source.shape)), epilogue(spec.program, seed)
    wide: Any = source.array.astype("float64")
    expected = test_resize.along(spec, test_resize.along(spec, wide, 1), 2)
    check(spec, gpu, [source, *rest], evaluated(spec.program, expected, [one.array for one in rest]), cut)


@few(4)
@given(test_lrn.specs(), gpus, seeds, cuts)
def test_lrn_matches_numpy(spec: Lrn, gpu: Gpu, seed: int, cut: float) -> None:
    spec = stored(spec, gpu)
    source, rest = operand(spec.source, normal(seed, spec.source.shape)), epilogue(spec.program, seed)
    expected = test_lrn.reference(spec, source.array)
    check(spec, gpu, [source, *rest], evaluated(spec.program, expected, [one.array for one in rest]), cut)
