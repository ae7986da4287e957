"""What running an artifact adds to a process: weights, the activations that live together, and little else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import models
from gacer_tune.artifact import read_artifact
from gacer_tune.cli import main
from gacer_tune.ir.workload import Tenant
from tests.support.compiled import FOLDER

ALLOWED = 1.3
MEASURE = """
import json, sys
import psutil, tvm
before = psutil.Process().memory_info().rss
from gacer_tune import inputs
from gacer_tune.runtime import load
module = load(sys.argv[1])
given = {tenant.name: inputs.sample(tenant, 0) for tenant in module.workload.tenants}
module.run(given)
module.run(given)
print(json.dumps(psutil.Process().memory_info().rss - before))
"""


def live_nbytes(tenant: Tenant) -> int:
    """Most bytes of values that some kernel of the tenant, run in order, must have in memory at once."""
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for number, kernel in enumerate(tenant.kernels):
        for operand in kernel.operands:
            first.setdefault(operand.buffer, number)
            last[operand.buffer] = number
    values = [b for b in first if tenant.buffers[b].kind != "weight"]
    steps = range(len(tenant.kernels))
    return max(sum(tenant.buffers[b].nbytes for b in values if first[b] <= step <= last[b]) for step in steps)


@pytest.mark.slow
def test_resident_memory_of_two_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for name in ("resnet18", "bert_small"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(models.MODELS[name]().SerializeToString())
        paths.append(str(path))
    out = tmp_path / "out"
    options = ["--budget", "60s", "--trials", "4", "--cache", str(FOLDER / "tune-cache"), "--out", str(out)]
    assert main(["tune", *paths, *options]) == 0
    capsys.readouterr()
    tenants = read_artifact(out).workload.tenants
    weights = {b.content: b.nbytes for tenant in tenants for b in tenant.buffers if b.kind == "weight"}
    needed = sum(weights.values()) + sum(live_nbytes(tenant) for tenant in tenants)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(out)], capture_output=True, text=True, check=True)
    added = int(json.loads(done.stdout))
    print(f"added {added / 1e6:.1f} MB, needed {needed / 1e6:.1f} MB, ratio {added / needed:.3f}")
    assert needed > 100e6
    assert added <= ALLOWED * needed
