"""Running the command line in this process, and artifacts of made-up workloads."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gacer_tune.artifact import read_artifact, schedule_document
from gacer_tune.ir.schedule import breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.store.publish import publish
from tests.cli.support import Cli, Fake, FakeModule, calling, figures
from tests.support.workloads import chain, random_profile


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """`fake("gacer_tune.tuning", tune=...)`: what an import of that module finds."""

    def put(name: str, **members: Any) -> None:
        module = ModuleType(name)
        for member, value in members.items():
            setattr(module, member, value)
        monkeypatch.setitem(sys.modules, name, module)

    return put


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, also the current one, with files that look like models to the command line."""
    for name in ("det.onnx", "seg.onnx", "cls.onnx"):
        (tmp_path / name).write_bytes(b"not read here")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A published artifact of two tenants on two lanes, with made-up figures and times; its module is no module."""
    workload = Workload((chain("det", (4, 3, 5)), chain("seg", (2, 6))))
    schedules = {
        "best": breadth_first(workload, 2),
        "sequential": sequential(workload, 2),
        "lane_per_tenant": lane_per_tenant(workload, 2),
        "alone/det": sequential(Workload(workload.tenants[:1]), 2),
    }
    document = schedule_document(workload, schedules, (), random_profile(random.Random(1), workload))
    manifest = {"isa": "x86-64", "target": "cpu", "fingerprint": host_fingerprint().document(), "figures": figures()}
    trials = [
        Trial(schedules["sequential"], Timing((0.02, 0.021), (0.01, 0.02)), "sequential", 0),
        Trial(schedules["lane_per_tenant"], Timing((0.018,), (0.018, 0.01)), "lane_per_tenant", 1),
        Trial(schedules["best"], Failure("timeout", "no answer within 10 s"), "evolve", 2),
        Trial(schedules["best"], Timing((0.015,), (0.012, 0.015)), "evolve", 3),
    ]
    lines = [json.dumps({"workload": workload.key, "trial": trial.to_json()}) + "\n" for trial in trials]
    files: dict[str, bytes | Path] = {
        "module.so": b"\x7fELF",
        "weights.safetensors": b"",
        "schedule.json": json.dumps(document).encode(),
        "trials.jsonl": "".join(lines).encode(),
    }
    folder = tmp_path / "artifact"
    publish(folder, files, manifest)
    return folder


@pytest.fixture
def module(artifact: Path, fake: Fake) -> FakeModule:
    """What loading the artifact gives."""
    made = FakeModule(read_artifact(artifact))
    fake("gacer_tune.runtime", load=lambda _: made)
    return made
