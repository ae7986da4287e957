"""LSTM and GRU as they are run: one kernel for a step, right and the same bits whatever the schedule."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest

from gacer_tune import inputs
from gacer_tune.ir.neighbours import random_schedule
from tests.support.build import model, node, run
from tests.support.compiled import Built, build

GATES = {"LSTM": 4, "GRU": 3}
STEPS, FEATURES, UNITS = 3, 6, 20
TOLERANCE = 2e-6  # of values between -1 and 1


def recurrent(kind: str, batch: int = 1, directions: int = 1, **options: int) -> onnx.ModelProto:
    """One layer, all outputs read."""
    rows, rng = GATES[kind] * UNITS, np.random.default_rng(3)
    shapes = {"W": (directions, rows, FEATURES), "R": (directions, rows, UNITS), "B": (directions, 2 * rows)}
    weights = {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    outs = ["Y", "Y_h", "Y_c"] if kind == "LSTM" else ["Y", "Y_h"]
    direction = ("forward", "bidirectional")[directions - 1]
    made = node(kind, ["x", "W", "R", "B"], outs, hidden_size=UNITS, direction=direction, **options)
    return model([made], {"x": (STEPS, batch, FEATURES)}, outs, weights)


def errors(built: Built) -> list[float]:
    """Largest difference to ONNX Runtime, by output."""
    tenant = built.compiled.workload.tenants[0]
    expected, found = run(built.models[0], inputs.sample(tenant, 0)), built.bench.outputs()
    return [float(np.abs(found[f"0/{port.name}"] - e).max()) for port, e in zip(tenant.outputs, expected, strict=True)]


def steps(built: Built) -> int:
    """Ops that are a step with all its gates."""
    return sum(op.kind == "matmul_gates" for op in built.compiled.workload.tenants[0].ops)


def differing(built: Built, count: int) -> list[str]:
    """Random schedules that give other bits."""
    rng, bench = random.Random(1), built.bench
    drawn = [random_schedule(built.compiled.workload, 2, rng) for _ in range(count)]
    return [schedule.digest for schedule in drawn if bench.digest(bench.load(schedule)) != bench.expected]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("LSTM", {}, STEPS - 1),  # the first step has no state, and so no product
        ("LSTM", {"batch": 3, "directions": 2}, 2 * (STEPS - 1)),
        ("LSTM", {"batch": 17}, 0),  # of so many rows products are cut along rows
        ("GRU", {}, STEPS - 1),
        ("GRU", {"batch": 5, "linear_before_reset": 1}, STEPS - 1),
    ],
)
def test_a_step_is_one_kernel_and_right(kind: str, options: dict[str, int], expected: int) -> None:
    built = build([("m", recurrent(kind, **options))], 2, most=2)
    assert steps(built) == expected
    assert max(errors(built)) <= TOLERANCE
    assert differing(built, 20) == []
