"""Kernels on images that make each value by itself."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.pack import depthwise_weight
from gacer_tune.kernels.pool import Pool
from gacer_tune.kernels.resize import Resize
from tests.cuda.variants import ROUNDED, STORING, Case, case, stored
from tests.kernels import test_depthwise, test_lrn, test_pool, test_resize
from tests.support.kernels import Array, convolved, cuts, few, normal, operand, seeds

gpus = st.sampled_from(STORING)
Image = TypeVar("Image", Pool, Resize, Lrn)


def of_an_image(spec: Image, gpu: Gpu, seed: int, reference: Callable[[Image, Array], Array]) -> Case:
    """A kernel that reads one image and what reference(spec, image) makes of it."""
    spec = stored(spec, gpu)
    source = operand(spec.source, normal(seed, spec.source.shape))
    return case(spec, gpu, [source], reference(spec, source.array), seed)


@few(6)
@given(test_pool.pools(), gpus, seeds, cuts)
def test_pool_matches_a_loop_over_windows(spec: Pool, gpu: Gpu, seed: int, cut: float) -> None:
    assert of_an_image(spec, gpu, seed, test_pool.reference).error(cut=cut) <= ROUNDED[gpu.precision]


@few(6)
@given(test_depthwise.specs(), gpus, seeds, cuts)
def test_depthwise_matches_numpy(spec: Depthwise, gpu: Gpu, seed: int, cut: float) -> None:
    spec, channels = stored(spec, gpu), spec.out.shape[3]
    source = operand(spec.source, normal(seed, spec.source.shape))
    weight = normal(seed + 50, (channels, 1, *spec.size)).astype(gpu.dtype)
    packed = operand(spec.weight(gpu), depthwise_weight(weight.astype("float32"), gpu))
    expected = convolved(source.array, weight, channels, spec.window)
    assert case(spec, gpu, [source, packed], expected, seed).error(cut=cut) <= ROUNDED[gpu.precision]


@few(4)
@given(test_resize.specs(), gpus, seeds, cuts)
def test_resize_matches_numpy(spec: Resize, gpu: Gpu, seed: int, cut: float) -> None:
    def both_ways(one: Resize, image: Array) -> Array:
        return test_resize.along(one, test_resize.along(one, image.astype("float64"), 1), 2)

    assert of_an_image(spec, gpu, seed, both_ways).error(cut=cut) <= ROUNDED[gpu.precision]


@few(4)
@given(test_lrn.specs(), gpus, seeds, cuts)
def test_lrn_matches_numpy(spec: Lrn, gpu: Gpu, seed: int, cut: float) -> None:
    assert of_an_image(spec, gpu, seed, test_lrn.reference).error(cut=cut) <= ROUNDED[gpu.precision]
