from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.conv2d import Conv2d, candidates
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.pack import conv_weight
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.window import Window
from tests.support.kernels import (
    TOLERANCE,
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


@st.composite
def specs(draw: st.DrawFn) -> Conv2d:
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    inputs, each = draw(st.sampled_from((1, 3, 5, 12))), draw(st.sampled_from((1, 7, 16, 20, 37)))
    images = draw(st.integers(1, 2))
    window = draw(windows())
    source = draw(views((images, *window.image, inputs * groups)))
    out = draw(views((images, *window.out, each * groups)))
    program = draw(programs(out.shape))
    return Conv2d(source, out, window.size, window.stride, window.pad, window.dilation, groups, program)


@few(12)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Conv2d, machine: Machine, seed: int, cut: float) -> None:
    inputs, each = spec.group_channels
    source = normal(seed, spec.source.shape)
    weight = normal(seed + 50, (each * spec.groups, inputs, *spec.window))
    rest = epilogue(spec.program, seed)
    packed = operand(spec.weight(machine), conv_weight(weight, spec.groups, machine))
    found = outputs(spec, [operand(spec.source, source), packed, *rest], machine, cut)
    image, out = spec.source.shape[1:3], spec.out.shape[1:3]
    window = Window(spec.window, spec.stride, spec.pad, spec.dilation, (image[0], image[1]), (out[0], out[1]))
    expected = convolved(source, weight, spec.groups, window)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE


def test_the_second_register_tile_loads_less_where_that_costs_no_cycles() -> None:
    """14 columns of two vectors load 16 values for 28 multiply-adds, 6 of four vectors 10 for 24; seven columns of the
    smallest images would be 6 and a single one."""

    def tiles(extent: int, isa: str) -> list[tuple[int, int]]:
        spec = Conv2d(dense((1, extent, extent, 256)), dense((1, extent, extent, 64)))
        return list(dict.fromkeys((tile.vectors, tile.columns) for tile in candidates(spec, MACHINES[isa])))

    assert tiles(56, "avx512")[:2] == tiles(28, "avx512")[:2] == [(2, 14), (4, 6)]
    assert tiles(7, "avx512")[:2] == [(4, 5), (4, 4)]
    assert tiles(56, "avx2")[:2] == [(2, 4), (2, 6)]
