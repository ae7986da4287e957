"""A real artifact of two tiny tenants, made without a search, and the command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

import models
from gacer_tune.cost_model.profile import Profile
from gacer_tune.emitting import Emission, alone, emit
from gacer_tune.ir.workload import Workload
from gacer_tune.preparing import Prepared
from gacer_tune.search.seeds import baselines
from tests.cli.support import Cli, calling, figures
from tests.support.compiled import build, kernel_cache, silent

LANES = 2


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`best` is one lane for each tenant; the model files are recorded and there."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("bench")
    named = [(name, models.MODELS[name]()) for name in ("tiny_branchy", "tiny_mlp")]
    paths = tuple(folder / f"{name}.onnx" for name, _ in named)
    for path, (_, model) in zip(paths, named, strict=True):
        path.write_bytes(model.SerializeToString())
    built = build(named, LANES, most=1)
    workload, profile = built.compiled.workload, _flat(built.compiled.workload)
    save_file(built.compiled.weights, folder / "weights.safetensors")
    prepared = Prepared(workload, profile, built.compiled, folder, built.bench.session.cpus, kernel_cache())
    schedules = baselines(workload, profile, LANES)
    schedules = {"best": schedules["lane_per_tenant"], **schedules, **alone(prepared, LANES)}
    out = folder / "out"

    emit(out, prepared, Emission(schedules, figures(), (), {}, paths), built.bench.hertz, silent)
    return out


def _flat(workload: Workload) -> Profile:
    rows = tuple(tuple((1e-6,) * len(k.variants) for k in tenant.kernels) for tenant in workload.tenants)
    return Profile(rows, rows, 0.0, 0.0)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)
