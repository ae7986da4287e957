"""Steps of recurrent nets: every variant gives the bits of every other, and those are the gates' values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.gates import Gates
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.pack import gate_weight
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from tests.support.kernels import (
    Array,
    Operand,
    bits,
    call,
    cuts,
    error,
    few,
    machines,
    normal,
    operand,
    seeds,
    variants,
)

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


def outputs(spec: Gates, inputs: list[Operand], machine: Machine, cut: float) -> tuple[list[Array], list[str]]:
    """Both results of the first variant, and which variants give other bits or write elsewhere."""
    first: list[Array] = []
    odd = []
    for tile, items, kernel in variants(spec, machine):
        outs = [Operand(tensor, np.nan) for tensor in spec.outs]
        for lo, hi in pairwise((0, round(cut * items), items)):
            call(kernel, [*inputs, *outs], lo, hi)
        first = first or [out.array.copy() for out in outs]
        same = [bits(out.array.copy()) == bits(one) for out, one in zip(outs, first, strict=True)]
        if not all(same) or not all(out.untouched() for out in outs):
            odd.append(f"{tile} cut at {cut}")
    return first, odd


@few(10)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Gates, machine: Machine, seed: int, cut: float) -> None:
    m, units = spec.out.shape
    state, weight = normal(seed, (m, units)), normal(seed + 1, (units, PARTS * units))
    given_ = [operand(tensor, normal(seed + 2 + i, (m, units))) for i, tensor in enumerate(spec.program.operands)]
    packed = gate_weight(weight, machine)
    inputs = [operand(spec.left, state), operand(spec.weight(machine), packed), *given_]
    found, odd = outputs(spec, inputs, machine, cut)
    first, second, third = np.split(state.astype(np.float64) @ weight, PARTS, axis=1)
    made = (first + given_[0].array) * second + given_[1].array
    assert odd == []
    assert error(found[0], made) <= 1e-5
    assert error(found[1], made - third) <= 1e-5
