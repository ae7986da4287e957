import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.machine import Machine
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
def specs(draw: st.DrawFn) -> Lrn:
    channels = draw(st.sampled_from((1, 2, 5, 8, 24, 37)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)), channels)
    size, beta = draw(st.integers(1, 6)), draw(st.sampled_from((0.5, 0.75, 0.6)))
    return Lrn(draw(views(shape)), draw(views(shape)), size, 0.3, beta, 1.5, draw(programs(shape)))


def reference(spec: Lrn, source: Array) -> Array:
    x: Array = source.astype(np.float64)
    total = np.zeros_like(x)
    before = (spec.size - 1) // 2
    for c in range(x.shape[3]):
        total[..., c] = (x[..., max(0, c - before) : c - before + spec.size] ** 2).sum(-1)
    found: Array = x / (spec.bias + spec.alpha / spec.size * total) ** spec.beta
    return found


@few(10)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Lrn, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape), epilogue(spec.program, seed)
    found = outputs(spec, [operand(spec.source, source), *rest], machine, cut)
    assert error(found, evaluated(spec.program, reference(spec, source), [gate.array for gate in rest])) <= TOLERANCE
