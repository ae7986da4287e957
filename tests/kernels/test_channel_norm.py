import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import Tensor, dense
from tests.support.kernels import (
    TOLERANCE,
    Array,
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
)


@st.composite
def specs(draw: st.DrawFn) -> ChannelNorm:
    groups, channels = draw(st.sampled_from(((1, 7), (3, 1), (21, 1), (40, 1), (4, 8), (2, 37), (5, 2))))
    middle = tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=2)))
    shape = (draw(st.integers(1, 2)), *middle, groups * channels)
    scale = draw(st.sampled_from((None, dense(shape[-1:]), Tensor(shape[-1:], (2,)))))
    bias = draw(st.sampled_from((None, dense(shape[-1:]))))
    return ChannelNorm(draw(views(shape)), draw(views(shape)), groups, 1e-3, scale, bias, draw(programs(shape)))


def reference(spec: ChannelNorm, source: Array, scale: Array | float, bias: Array | float) -> Array:
    grouped: Array = source.astype(np.float64).reshape(*source.shape[:-1], spec.groups, spec.channels)
    axes = (*range(1, grouped.ndim - 2), grouped.ndim - 1)
    grouped = grouped - grouped.mean(axes, keepdims=True)
    found: Array = grouped / np.sqrt((grouped**2).mean(axes, keepdims=True) + spec.epsilon)
    return found.reshape(source.shape) * scale + bias


@few(12)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: ChannelNorm, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape) + 1, epilogue(spec.program, seed)
    scale, bias = (
        None if t is None else operand(t, normal(seed + i, t.shape)) for i, t in ((7, spec.scale), (8, spec.bias))
    )
    factors = [found for found in (scale, bias) if found is not None]
    found = outputs(spec, [operand(spec.source, source), *factors, *rest], machine, cut)
    expected = reference(spec, source, 1.0 if scale is None else scale.array, 0.0 if bias is None else bias.array)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE
