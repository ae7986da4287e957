"""Kernels whose factors are bfloat16, against numpy with the same factors."""

from dataclasses import replace

import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.executor import amx
from gacer_tune.kernels import mapping
from gacer_tune.kernels.emit.compile import lower, target_of
from gacer_tune.kernels.emit.narrow import emit
from gacer_tune.kernels.machine import AMX, Machine
from gacer_tune.kernels.narrow import PANEL, NarrowConv, candidates, fits, panel
from gacer_tune.kernels.pack import bfloat16, narrow_weight
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from tests.support.kernels import (
    TOLERANCE,
    Array,
    bits,
    convolved,
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
    windows,
)

ROUNDED = 1 / 256  # of a value, at most


def with_tiles() -> list[Machine]:
    """Plain loops everywhere, and AMX where it is."""
    emulated = [replace(machine, tiles="emulated") for machine in machines()[:2]]
    return [*emulated, *([] if amx.missing() else [AMX])]


def widened(values: Array) -> Array:
    """float32 of what bfloat16 is stored as."""
    found: Array = (values.astype(np.uint32) << 16).view(np.float32)
    return found


@st.composite
def specs(draw: st.DrawFn) -> NarrowConv:
    inputs, channels = draw(st.sampled_from((1, 3, 24, 32, 40, 70))), draw(st.sampled_from((3, 16, 32, 45, 100)))
    images = draw(st.integers(1, 2))
    window = draw(windows())
    stored = st.sampled_from(("float32", "bfloat16"))
    source = draw(views((images, *window.image, inputs), draw(stored)))
    out = draw(views((images, *window.out, channels), draw(stored)))
    program = draw(programs(out.shape))
    return NarrowConv(source, out, window.size, window.stride, window.pad, window.dilation, program)


@st.composite
def rows(draw: st.DrawFn) -> NarrowConv:
    """Rows of whole lines, that tiles read where they are."""
    channels, images, count = 32 * draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(16, 120))
    pitch = channels + 32 * draw(st.integers(0, 2))
    source = Tensor((images, 1, count, channels), (count * pitch, count * pitch, pitch, 1), "bfloat16")
    out = draw(views((images, 1, count, draw(st.sampled_from((16, 45, 160)))), "bfloat16"))
    spec = NarrowConv(source, out, program=draw(programs(out.shape)))
    assert spec.direct and panel(spec, candidates(spec, AMX)[0]).size == 0
    return spec


@st.composite
def photos(draw: st.DrawFn) -> NarrowConv:
    """Few channels, each of them an image of its own whose rows are longer than a vector."""
    channels, images, size = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.sampled_from((2, 3, 5, 7, 11)))
    stride, dilation, pad = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(0, size // 2))
    span = (size - 1) * dilation + 1
    height, width = span + draw(st.integers(0, 6)), max(span, draw(st.integers(20, 60)))
    source = Tensor((images, height, width, channels), (channels * height * width, width, 1, height * width))
    extents = [(extent + 2 * pad - span) // stride + 1 for extent in (height, width)]
    out = dense((images, *extents, draw(st.sampled_from((8, 16, 40)))))
    spec = NarrowConv(source, out, (size, size), (stride, stride), (pad, pad), (dilation, dilation))
    assert spec.folds
    return spec


@few(32)
@given(specs() | rows() | photos(), st.sampled_from(with_tiles()), seeds, cuts)
def test_matches_numpy(spec: NarrowConv, machine: Machine, seed: int, cut: float) -> None:
    source = normal(seed, spec.source.shape)
    weight = normal(seed + 50, (spec.out.shape[3], spec.source.shape[3], *spec.window))
    rest = epilogue(spec.program, seed)
    packed = operand(spec.tensors(machine)[1], narrow_weight(weight, spec.folds), 0)
    narrow = bfloat16(source)
    given_ = operand(spec.source, narrow if spec.source.dtype == "bfloat16" else source)
    found = outputs(spec, [given_, packed, *rest], machine, cut)
    image, out = spec.source.shape[1:3], spec.out.shape[1:3]
    window = Window(spec.window, spec.stride, spec.pad, spec.dilation, (image[0], image[1]), (out[0], out[1]))
    expected = convolved(widened(narrow), widened(bfloat16(weight)), 1, window)
    expected = evaluated(spec.program, expected, [gate.array for gate in rest])
    if spec.out.dtype == "bfloat16":
        assert error(widened(found), expected) <= ROUNDED
    else:
        assert error(found, expected) <= TOLERANCE


SPECIAL = (0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("machine", with_tiles(), ids=lambda machine: f"{machine.isa} {machine.tiles}")
@pytest.mark.parametrize("count", [11, 16, 29, 64])
def test_values_are_rounded_to_the_nearest_and_ties_to_even(machine: Machine, count: int) -> None:
    """Whole vectors and the tails of rows alike; what is no number stays so, what is too large becomes infinite."""
    values = np.resize(np.array(SPECIAL, np.float32), count)
    spec = mapping.copy(dense(values.shape), dense(values.shape, "bfloat16"))
    found = outputs(spec, [operand(dense(values.shape), values)], machine)
    assert np.array_equal(np.isnan(widened(found)), np.isnan(values))
    known = ~np.isnan(values)
    assert bits(found[known]) == bits(bfloat16(values)[known])
    back = mapping.copy(dense(values.shape, "bfloat16"), dense(values.shape))
    again = outputs(back, [operand(dense(values.shape, "bfloat16"), bfloat16(values))], machine)
    assert bits(again[known]) == bits(widened(bfloat16(values))[known])


def test_bfloat16_of_known_values() -> None:
    """Bits by hand: 1.0, the tie above it that goes down to even, the next one that goes up, a little above the tie."""
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, np.inf, 3.4e38], np.float32)
    assert [hex(value) for value in bfloat16(values)] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0x7f80", "0x7f80"]
    assert np.isnan(widened(bfloat16(np.array([np.nan], np.float32))))[0]


@pytest.mark.parametrize("wide", [1, 2])
def test_amx_is_compiled_on_any_processor(wide: int) -> None:
    """Sums, pixels and weights of a step take no more tiles than they need."""
    spec = NarrowConv(dense((1, 28, 28, 64)), dense((1, 28, 28, 96)), (3, 3), pad=(1, 1))
    tile = next(tile for tile in candidates(spec, AMX) if tile.wide == wide)
    kernel = lower(emit(spec, tile, AMX, "kernel"), AMX)
    assembly = tvm.get_global_func("target.build.llvm")(kernel, target_of(AMX)).inspect_source("s")
    assert assembly.count("tdpbf16ps") >= 3 and assembly.count("vcvtneps2bf16") >= 4
    used = [number for number in range(8) if f"%tmm{number}" in assembly]
    assert used == list(range(panel(spec, tile).deep * wide + 1 + wide))


def test_panels_fit_the_stack() -> None:
    wide = NarrowConv(dense((1, 8, 8, 1 << 15)), dense((1, 8, 8, 64)), (3, 3), pad=(1, 1))
    assert not fits(wide)
    spec = replace(wide, source=dense((1, 56, 56, 1024)), out=dense((1, 56, 56, 64)))
    assert fits(spec)
    assert all(2 * panel(spec, tile).size <= PANEL for tile in candidates(spec, AMX))
