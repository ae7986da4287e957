import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.compile import compile_source
from gacer_tune.kernels.cuda.conv2d import product_of
from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu, Precision
from gacer_tune.kernels.cuda.product import Product, ProductTile, fitting
from gacer_tune.kernels.pack import conv_weight
from gacer_tune.kernels.program import NOTHING, Arg, Program, Step
from gacer_tune.kernels.rules import Source, candidates, items
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.window import Window
from tests.cuda.variants import EXACT, PRECISIONS, SMALL, Case, case, launch, rounded, stored
from tests.support.kernels import Operand, convolved, cuts, error, few, normal, operand, programs, seeds, views, windows


@st.composite
def specs(draw: st.DrawFn, gpu: Gpu) -> Conv2d:
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    inputs, each = draw(st.sampled_from((1, 3, 8, 16, 40))), draw(st.sampled_from((1, 7, 16, 33, 64)))
    images = draw(st.integers(1, 2))
    window = draw(windows())
    source, out = (
        draw(views((images, *size, channels * groups)))
        for size, channels in ((window.image, inputs), (window.out, each))
    )
    made = draw(programs(out.shape))
    return stored(Conv2d(source, out, window.size, window.stride, window.pad, window.dilation, groups, made), gpu)


def convolution(spec: Conv2d, gpu: Gpu, seed: int = 0) -> Case:
    """Random operands and what they make, in double precision from the values that are multiplied."""
    inputs, each = spec.group_channels
    shape = (each * spec.groups, inputs, *spec.window)
    source = normal(seed, spec.source.shape)
    weight = normal(seed + 50, shape) / np.float32(np.sqrt(np.prod(shape[1:])))
    packed = operand(spec.weight(gpu), conv_weight(weight, spec.groups, gpu))
    image, out = spec.source.shape[1:3], spec.out.shape[1:3]
    window = Window(spec.window, spec.stride, spec.pad, spec.dilation, (image[0], image[1]), (out[0], out[1]))
    expected = convolved(rounded(source, gpu), rounded(weight, gpu), spec.groups, window)
    return case(spec, gpu, [operand(spec.source, source), packed], expected, seed)


@few(3)
@given(st.data(), st.sampled_from(PRECISIONS), seeds, cuts)
def test_matches_numpy(data: st.DataObject, precision: Precision, seed: int, cut: float) -> None:
    gpu = Gpu(precision=precision)
    spec = data.draw(specs(gpu))
    tiles = [data.draw(st.sampled_from(SMALL)), data.draw(st.sampled_from(candidates(spec, gpu)))]
    assert convolution(spec, gpu, seed).error(tiles, cut) <= EXACT[precision]


def image(size: int, channels: int, gpu: Gpu, outputs: int, program: Program = NOTHING) -> Conv2d:
    """A 3x3 convolution of one small image, with padding."""
    source, out = dense((1, size, size, channels), gpu.dtype), dense((1, size, size, outputs), gpu.dtype)
    return Conv2d(source, out, (3, 3), pad=(1, 1), program=program)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_large_and_small_tiles_give_the_same_bits(precision: Precision) -> None:
    gpu = Gpu(precision=precision)
    residual = dense((1, 9, 9, 72), gpu.dtype)
    steps = (Step("add", (Arg("acc"), Arg("operand", 0))), Step("relu", (Arg("step", 0),)))
    made = convolution(image(9, 16, gpu, 72, Program(steps, (residual,))), gpu)
    assert made.error([ProductTile(128, 128, 64), ProductTile(16, 32, 16)]) <= EXACT[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_dynamic_shared_memory_changes_no_bit(precision: Precision) -> None:
    """Four steps at a time in 64 KiB, of nine or more."""
    gpu, tile = Gpu(precision=precision), ProductTile(128, 128, 64, deep=True)
    spec = image(6, 32, gpu, 72)
    assert tile.stages(product_of(spec).steps(gpu)) == 4
    source = source_of(Source(spec, tile, gpu).emit("kernel"), gpu)
    assert f"// dynamic shared memory: {4 * tile.stage_nbytes} bytes\n" in source
    assert convolution(spec, gpu).error([tile, ProductTile(32, 32, 16)]) <= EXACT[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_parts_of_the_reduction_are_added_in_one_order(precision: Precision) -> None:
    gpu = Gpu(precision=precision)
    channels = 32 * 32 // np.dtype(gpu.dtype).itemsize
    spec = replace(image(3, channels, gpu, 33), window=(1, 1), pad=(0, 0))
    parts = product_of(spec).parts(gpu)
    assert parts == 4
    tiles = [ProductTile(*sizes) for sizes in ((32, 32, 16, parts), (16, 32, 16, parts), (32, 64, 16))]
    assert convolution(spec, gpu).error(tiles) <= EXACT[precision]


def test_memory_that_is_not_aligned_is_copied_element_by_element() -> None:
    gpu, tile = Gpu(), ProductTile(32, 32, 16)
    spec = image(5, 16, gpu, 24)
    made = convolution(spec, gpu, 3)
    source, out = source_of(Source(spec, tile, gpu).emit("kernel"), gpu), Operand(spec.out, np.nan)
    assert source.count("gt_aligned(") >= 1
    launch(source.replace("gt_aligned(", "!gt_aligned("), gpu, [*made.inputs, out], 0, items(spec, tile, gpu))
    assert error(out.array, made.expected) <= EXACT["fp16"]


def test_a_source_of_another_type_is_converted() -> None:
    gpu = Gpu()
    spec = image(5, 16, gpu, 24)
    wide = replace(spec, source=dense(spec.source.shape, "float32"))
    assert convolution(wide, gpu).error([ProductTile(32, 32, 16)]) <= EXACT["fp16"]


def test_one_row_of_a_matrix() -> None:
    gpu = Gpu()
    spec = Conv2d(dense((1, 1, 1, 520), "float16"), dense((1, 1, 1, 40), "float16"))
    assert convolution(spec, gpu).error(candidates(spec, gpu)[:2]) <= EXACT["fp16"]


def matrix(m: int, n: int, k: int) -> Conv2d:
    return Conv2d(dense((1, 1, m, k), "float16"), dense((1, 1, m, n), "float16"))


def test_large_products_take_large_tiles_first() -> None:
    assert candidates(matrix(8192, 4096, 1024), GPUS["sm_90"])[0] == ProductTile(128, 128, 64)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tiles_ask_for_more_shared_memory_only_where_it_holds_more_steps(precision: Precision) -> None:
    gpu = Gpu(precision=precision)
    tiles = fitting(Product(1, 8192, 4096, 1024), gpu)
    assert [(tile.rows, tile.columns) for tile in tiles if tile.deep] == [(128, 128)]
    assert all(4 * tile.shared_words(32) <= (96 if tile.deep else 48) << 10 for tile in tiles)
    assert all(tile.stages(32) > 2 for tile in tiles)
    assert not any(tile.deep for tile in fitting(Product(1, 8192, 4096, 64), Gpu()))


@pytest.mark.parametrize("arch", GPUS)
@pytest.mark.parametrize("size", [(3136, 64, 576), (784, 512, 128), (1, 1000, 2048), (49, 2048, 512), (12544, 64, 147)])
def test_variants_differ_in_how_far_they_spread(arch: str, size: tuple[int, int, int]) -> None:
    spec, gpu = matrix(*size), GPUS[arch]
    tiles = candidates(spec, gpu)
    assert 3 <= len(set(tiles)) == len(tiles) <= 5
    blocks = [items(spec, tile, gpu) for tile in tiles]
    assert max(blocks) >= 2 * min(blocks)


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc")
@pytest.mark.parametrize("arch", GPUS)
def test_tiles_compile_without_spills(arch: str) -> None:
    """All in one run of nvcc: the largest tile of each precision, gathered and copied, with teams and without."""
    sources = []
    for precision in PRECISIONS:
        gpu = Gpu(arch, precision)
        residual = dense((1, 28, 28, 256), gpu.dtype)
        gelu = Step("gelu", (Arg("acc"),))
        program = Program((gelu, Step("add", (Arg("step", 0), Arg("operand", 0)))), (residual,))
        large, few_channels = image(28, 256, gpu, 256, program), image(28, 3, gpu, 64)
        parts = product_of(large).parts(gpu)
        assert parts > 1
        for spec, tile in (
            (large, ProductTile(128, 128, 64)),
            (large, ProductTile(128, 128, 64, deep=True)),
            (large, ProductTile(32, 32, 16, parts)),
            (few_channels, ProductTile(128, 64, 64)),
        ):
            sources.append(source_of(Source(spec, tile, gpu).emit(f"kernel{len(sources)}"), gpu))
    text = "\n".join([sources[0], *(source[source.index('extern "C"') :] for source in sources[1:])])
    assert compile_source(text, arch).resources.spill_nbytes == 0
