from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.pack import conv_weight
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
