"""Steps of recurrent nets: every variant gives the bits of every other, and those are the gates' values."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.gates import Gates
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.pack import gate_weight
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from tests.support.kernels import error, few, machines, normal, operand, results, seeds

PARTS = 3


@st.composite
def specs(draw: st.DrawFn) -> Gates:
    """One value from the gates and two operands, another from that and the last gate."""
    m, units = draw(st.sampled_from((1, 2, 3, 7))), draw(st.sampled_from((3, 8, 13, 32, 37)))
    wide = Tensor((m, units), (PARTS * units, 1))
    steps = (
        Step("add", (Arg("acc", 0), Arg("operand", 0))),
        Step("mul", (Arg("step", 0), Arg("acc", 1))),
        Step("add", (Arg("step", 1), Arg("operand", 1))),
        Step("sub", (Arg("step", 2), Arg("acc", 2))),
    )
    program = Program(steps, (wide, dense((m, units))))
    outs = Tensor((m, units), (units + 3, 1)), dense((m, units))
    return Gates(dense((m, units)), PARTS, outs, program, (2, 3))


@few(10)
@given(specs(), st.sampled_from(machines()), seeds, st.randoms(use_true_random=False))
def test_matches_numpy(spec: Gates, machine: Machine, seed: int, rng: Random) -> None:
    m, units = spec.out.shape
    state, weight = normal(seed, (m, units)), normal(seed + 1, (units, PARTS * units))
    given_ = [operand(tensor, normal(seed + 2 + i, (m, units))) for i, tensor in enumerate(spec.program.operands)]
    packed = gate_weight(weight, machine)
    inputs = [operand(spec.left, state), operand(spec.weight(machine), packed), *given_]
    found, odd = results(spec, spec.outs, inputs, machine, rng)
    first, second, third = np.split(state.astype(np.float64) @ weight, PARTS, axis=1)
    made = (first + given_[0].array) * second + given_[1].array
    assert odd == []
    assert error(found[0], made) <= 1e-5
    assert error(found[1], made - third) <= 1e-5
