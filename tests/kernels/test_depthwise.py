from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.pack import depthwise_weight
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
def specs(draw: st.DrawFn) -> Depthwise:
    channels, images = draw(st.sampled_from((1, 3, 8, 13, 21, 40))), draw(st.integers(1, 2))
    window = draw(windows())
    source, out = draw(views((images, *window.image, channels))), draw(views((images, *window.out, channels)))
    program = draw(programs(out.shape))
    return Depthwise(source, out, window.size, window.stride, window.pad, window.dilation, program)


@few(10)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Depthwise, machine: Machine, seed: int, cut: float) -> None:
    channels = spec.out.shape[3]
    source, weight = normal(seed, spec.source.shape), normal(seed + 50, (channels, 1, *spec.size))
    rest = epilogue(spec.program, seed)
    packed = operand(spec.weight(machine), depthwise_weight(weight, machine))
    found = outputs(spec, [operand(spec.source, source), packed, *rest], machine, cut)
    expected = convolved(source, weight, channels, spec.window)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE
