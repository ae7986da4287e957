"""Outputs of whole models agree with ONNX Runtime: alone, and several together under a joint schedule."""

from __future__ import annotations

import random
from typing import Any

import onnx
import onnxruntime
import pytest

from gacer_tune import inputs
from gacer_tune.checking import TOLERANCE, relative_error
from gacer_tune.devices.bench import SEED
from gacer_tune.executor import threads
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import lane_per_tenant
from gacer_tune.ir.workload import Tenant
from tests.support.compiled import Built, build
from tests.support.light_models import NAMES, light_model
from tests.support.small_models import SMALL

LANES = min(2, len(threads.allowed_cpus()))
TOGETHER = ("resnet18", "bert", "mobilenet_v3", "dlrm")


def expected(model: onnx.ModelProto, tenant: Tenant) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs.sample(tenant, SEED)), strict=True))


def wrong(built: Built) -> list[str]:
    """What the last run left in memory and is not what ONNX Runtime gives, or is constant, so that it says nothing."""
    found = []
    for number, (tenant, model) in enumerate(zip(built.compiled.workload.tenants, built.models, strict=True)):
        ports = {port.name: port for port in tenant.outputs}
        for name, array in expected(model, tenant).items():
            ours = built.bench.session.port(number, ports[name])
            if not (ours.std() > 0 or array.size == 1):
                found.append(f"{tenant.name}.{name} is constant")
            if not relative_error(ours, array) <= TOLERANCE:
                found.append(f"{tenant.name}.{name} differs by {relative_error(ours, array):.2g}")
    return found


@pytest.mark.parametrize("name", SMALL)
def test_model_agrees(name: str) -> None:
    built = build([(name, SMALL[name](batch=1))], LANES, most=1)
    built.bench.outputs()
    assert wrong(built) == []


@pytest.mark.parametrize("name", NAMES)
def test_light_model_agrees(name: str) -> None:
    built = build([(name, light_model(name))], LANES, most=1)
    built.bench.outputs()
    assert wrong(built) == []


def test_joint_runs_agree() -> None:
    built = build([(name, SMALL[name](batch=1)) for name in TOGETHER], LANES, most=2)
    workload, rng = built.compiled.workload, random.Random(1)
    for schedule in (lane_per_tenant(workload, LANES), *(random_schedule(workload, LANES, rng) for _ in range(5))):
        assert built.bench.digest(built.bench.load(schedule)) == built.bench.expected
        assert wrong(built) == []


def test_batches_agree() -> None:
    built = build([(name, SMALL[name](batch=3)) for name in ("squeezenet", "bert", "tiny_branchy")], LANES, most=1)
    built.bench.outputs()
    assert wrong(built) == []
