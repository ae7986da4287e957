"""Inverted residuals by tiles, against numpy with the same rounded factors."""

from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.machine import AMX, Machine
from gacer_tune.kernels.narrow import PANEL, NarrowConv
from gacer_tune.kernels.narrow_inverted import NarrowInverted, candidates, fits, footprint, scratch
from gacer_tune.kernels.pack import bfloat16, depthwise_weight, narrow_weight
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from tests.kernels.test_inverted import weights_of
from tests.kernels.test_narrow import ROUNDED, widened, with_tiles
from tests.support.kernels import (
    TOLERANCE,
    Array,
    Operand,
    convolved,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    normal,
    operand,
    outputs,
    programs,
    seeds,
    views,
    windows,
)


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, 1, prod(shape[:3]), shape[3])


@st.composite
def specs(draw: st.DrawFn) -> NarrowInverted:
    choices = (8, 12, 32, 40), (8, 20, 37, 64, 80), (16, 19, 40)
    narrow, wide, last = (draw(st.sampled_from(sizes)) for sizes in choices)
    images, window = draw(st.integers(1, 2)), draw(windows())
    ends = draw(st.sampled_from(("both", "both", "expand", "project")))
    stored = st.sampled_from(("float32", "bfloat16"))
    before, after = (images, *window.image, wide), (images, *window.out, wide)
    source, out = dense(before), dense(after)
    expand = project = None
    if ends == "project":
        source = draw(views(before, draw(stored)))
    else:
        shape = flat((images, *window.image, narrow))
        read = draw(views(shape, draw(stored)))
        expand = NarrowConv(read, dense(flat(before)), program=draw(programs(flat(before))))
    if ends == "expand":
        out = draw(views(after, draw(stored)))
    else:
        result = draw(views(flat((images, *window.out, last)), draw(stored)))
        project = NarrowConv(dense(flat(after)), result, program=draw(programs(result.shape)))
    sizes = window.size, window.stride, window.pad, window.dilation
    return NarrowInverted(expand, Depthwise(source, out, *sizes, draw(programs(after))), project)


def packed(part: NarrowConv | Depthwise, machine: Machine, seed: int) -> Operand:
    weight = weights_of(part, seed)
    if isinstance(part, Depthwise):
        return operand(part.weight(machine), depthwise_weight(weight, machine))
    return operand(part.weight(machine), narrow_weight(weight, folds=False), 0)


def computed(part: NarrowConv | Depthwise, source: Array, weight: Array) -> Array:
    """What a part makes of the values before it, its program apart."""
    if isinstance(part, Depthwise):
        return convolved(source.reshape(part.source.shape), weight, part.out.shape[3], part.window)
    window = Window((1, 1), (1, 1), (0, 0), (1, 1), part.source.shape[1:3], part.out.shape[1:3])  # type: ignore[arg-type]
    factors = (widened(bfloat16(one)) for one in (source.reshape(part.source.shape), weight))
    return convolved(*factors, 1, window)


@few(24)
@given(specs(), st.sampled_from(with_tiles()), seeds, cuts)
def test_matches_numpy(spec: NarrowInverted, machine: Machine, seed: int, cut: float) -> None:
    first = spec.parts[0].source
    narrow = bfloat16(normal(seed + 99, first.shape))
    value = widened(narrow)
    inputs = [operand(first, narrow if first.dtype == "bfloat16" else value)]
    expected = value
    for number, part in enumerate(spec.parts):
        operands = epilogue(part.program, seed + 10 * number)
        inputs += [packed(part, machine, seed + 10 * number), *operands]
        made = computed(part, expected, weights_of(part, seed + 10 * number))
        expected = evaluated(part.program, made, [one.array for one in operands])
    found = outputs(spec, inputs, machine, cut)
    # What the last product reads is rounded, to one side here and to the other there where the sums before differ: by
    # so much of one of its terms, which may be nearly all of it.
    limit = TOLERANCE if spec.project is None else ROUNDED
    limit += ROUNDED if spec.out.dtype == "bfloat16" else 0
    assert error(widened(found) if spec.out.dtype == "bfloat16" else found, expected) <= limit


def residual(channels: tuple[int, int, int], size: int) -> NarrowInverted:
    between = dense((1, size, size, channels[1]))
    shapes = [dense((1, 1, size * size, count)) for count in channels]
    expand, project = NarrowConv(shapes[0], shapes[1]), NarrowConv(shapes[1], shapes[2])
    return NarrowInverted(expand, Depthwise(between, between, (3, 3), (1, 1), (1, 1)), project)


@pytest.mark.parametrize(("channels", "size"), [((16, 96, 24), 150), ((24, 144, 24), 75), ((160, 960, 320), 7)])
def test_scratch_lies_on_the_stack(channels: tuple[int, int, int], size: int) -> None:
    spec = residual(channels, size)
    tiles = candidates(spec, AMX)
    assert len(tiles) >= 2 and all(scratch(spec, tile) <= PANEL for tile in tiles)
    weights = sum(part.weight(AMX).nbytes for part in spec.parts)
    assert [footprint(spec, tile, AMX) - scratch(spec, tile) for tile in tiles] == [weights] * len(tiles)


def test_what_the_stack_has_no_room_for_is_refused() -> None:
    assert fits(residual((16, 96, 24), 150))
    assert not fits(residual((16, 1 << 14, 24), 150))


def test_operands_are_those_of_the_parts() -> None:
    plain = residual((8, 32, 16), 4)
    expand, sliding, project = plain.parts
    first, *others = [part.weight(AMX) for part in plain.parts]
    assert plain.tensors(AMX) == (expand.source, first, *others, project.out)
    assert plain.flops == expand.flops + sliding.flops + project.flops
    bias = Tensor((1, 1, 16, 32), (0, 0, 0, 1))
    step = Step("add", (Arg("acc"), Arg("operand", 0)))
    biased = replace(plain, expand=replace(plain.expand, program=Program((step,), (bias,))))
    assert biased.tensors(AMX) == (expand.source, first, bias, *others, project.out)
