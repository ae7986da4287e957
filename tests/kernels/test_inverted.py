import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.inverted import Inverted, InvertedTile, candidates, ring, scratch
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import NarrowConv
from gacer_tune.kernels.pack import conv_weight, depthwise_weight
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from tests.support.kernels import (
    TOLERANCE,
    Array,
    Operand,
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

POINT = (1, 1)


@st.composite
def specs(draw: st.DrawFn) -> Inverted:
    narrow, wide, last = (draw(st.sampled_from(sizes)) for sizes in ((3, 8, 12), (5, 8, 20, 37, 48), (4, 16, 19)))
    images, window = draw(st.integers(1, 2)), draw(windows())
    ends = draw(st.sampled_from(("both", "both", "expand", "project")))
    before, after = (images, *window.image, wide), (images, *window.out, wide)
    source, out = (dense(shape) for shape in (before, after))
    expand = project = None
    if ends == "project":
        source = draw(views(before))
    else:
        expand = Conv2d(draw(views((images, *window.image, narrow))), source, program=draw(programs(before)))
    if ends == "expand":
        out = draw(views(after))
    else:
        result = draw(views((images, *window.out, last)))
        project = Conv2d(out, result, program=draw(programs(result.shape)))
    sizes = window.size, window.stride, window.pad, window.dilation
    return Inverted(expand, Depthwise(source, out, *sizes, draw(programs(after))), project)


def weights_of(part: Conv2d | NarrowConv | Depthwise, seed: int) -> Array:
    """Weights as a model has them: (o, c / groups, rows, columns)."""
    outs = part.out.shape[3]
    if isinstance(part, Depthwise):
        return normal(seed, (outs, 1, *part.size))
    return normal(seed, (outs, part.source.shape[3], 1, 1))


def operands_of(part: Conv2d | Depthwise, machine: Machine, seed: int) -> list[Operand]:
    """Packed weights and the operands of the program."""
    weight = weights_of(part, seed)
    packed = depthwise_weight(weight, machine) if isinstance(part, Depthwise) else conv_weight(weight, 1, machine)
    return [operand(part.weight(machine), packed), *epilogue(part.program, seed)]


def window_of(part: Conv2d | Depthwise) -> Window:
    return part.window if isinstance(part, Depthwise) else part.sliding


@few(16)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Inverted, machine: Machine, seed: int, cut: float) -> None:
    source = normal(seed + 99, spec.parts[0].source.shape)
    parts = {number: operands_of(part, machine, seed + 10 * number) for number, part in enumerate(spec.parts)}
    inputs = [operand(spec.parts[0].source, source), *(one for found in parts.values() for one in found)]
    found = outputs(spec, inputs, machine, cut)
    expected = source
    for number, part in enumerate(spec.parts):
        groups = part.out.shape[3] if isinstance(part, Depthwise) else 1
        expected = convolved(expected, weights_of(part, seed + 10 * number), groups, window_of(part))
        expected = evaluated(part.program, expected, [one.array for one in parts[number][1:]])
    assert error(found, expected) <= TOLERANCE


@few(6)
@given(specs(), seeds)
def test_has_the_bits_of_its_parts(spec: Inverted, seed: int) -> None:
    machine = machines()[1]
    source = operand(spec.parts[0].source, normal(seed + 99, spec.parts[0].source.shape))
    parts = [operands_of(part, machine, seed + 10 * number) for number, part in enumerate(spec.parts)]
    found = outputs(spec, [source, *(one for part in parts for one in part)], machine)
    value: Array = source.array
    for part, operands in zip(spec.parts, parts, strict=True):
        value = outputs(part, [operand(part.source, value), *operands], machine)
    assert bits(found) == bits(value)


def test_scratch_holds_the_rows_that_a_window_reaches() -> None:
    """Two rows more than an item has, rounded up to a power of two; a whole image needs no ring."""
    machine = machines()[1]
    shape = (1, 40, 6, 16)
    point = Conv2d(dense((1, 40, 6, 8)), dense(shape))
    spec = Inverted(point, Depthwise(dense(shape), dense(shape), (3, 3), (1, 1), (1, 1)), None)
    tiles = {tile.rows: tile for tile in candidates(spec, machine)}
    rows = {size: ring(spec, tile, machine).shape[1] for size, tile in tiles.items()}
    assert rows[1] == 4
    assert all(height == min(40, 1 << (size + 1).bit_length()) for size, height in rows.items())


def test_many_images_are_cut_as_one_is() -> None:
    """Else items of a batch have so many rows that they do not fit into the cache."""
    machine = machines()[1]

    def tiles(images: int) -> list[InvertedTile]:
        source, wide, out = (dense((images, 56, 56, channels)) for channels in (24, 144, 24))
        sliding = Depthwise(wide, wide, (3, 3), (1, 1), (1, 1))
        spec = Inverted(Conv2d(source, wide), sliding, Conv2d(wide, out))
        found = candidates(spec, machine)
        assert all(scratch(spec, tile, machine) <= machine.l2 // 2 for tile in found)
        return found

    assert tiles(8) == tiles(1)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 14])
def test_both_parts_have_the_same_channel_tiles(columns: int) -> None:
    """However few columns there are, for which wider register tiles would be better."""
    shape = (1, 5, columns, 48)
    point = Conv2d(dense((1, 5, columns, 12)), dense(shape))
    spec = Inverted(point, Depthwise(dense(shape), dense(shape), (3, 3), (1, 1), (1, 1)), None)
    tiles = [tile for machine in machines() for tile in candidates(spec, machine)]
    assert all(tile.expand is not None and tile.expand.vectors == tile.vectors for tile in tiles)


def test_operands_are_those_of_the_parts() -> None:
    machine = machines()[1]
    bias = Tensor((1, 4, 4, 8), (0, 0, 0, 1))
    step = Step("add", (Arg("acc"), Arg("operand", 0)))
    point = Conv2d(dense((1, 4, 4, 3)), dense((1, 4, 4, 8)), program=Program((step,), (bias,)))
    sliding = Depthwise(dense((1, 4, 4, 8)), dense((1, 4, 4, 8)), (3, 3), (1, 1), (1, 1))
    spec = Inverted(point, sliding, None)
    assert spec.tensors(machine) == (point.source, point.weight(machine), bias, sliding.weight(machine), sliding.out)
    assert spec.flops == point.flops + sliding.flops
