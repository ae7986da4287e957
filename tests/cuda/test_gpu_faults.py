"""The faults that are injected on a GPU machine, injected here: into a measuring process on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gacer_tune.devices.child import ChildDevice, Limits, describe
from gacer_tune.executor import threads
from gacer_tune.store.tensors import save_weights
from gacer_tune.tenants import functions
from tests.gpu import check
from tests.support.compiled import tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As a bundle has it; two CPUs stand for the streams."""
    built = tiny()
    (tmp_path / "module.so").symlink_to(built.module)
    describe(tmp_path, built.compiled.workload, functions(built.compiled.workload))
    save_weights(tmp_path / "weights.safetensors", built.compiled.weights.items())

    def on_cpus(folder: Path, _: Sequence[int], limits: Limits, faults: dict[str, str]) -> ChildDevice:
        return ChildDevice(folder, threads.allowed_cpus()[:2], limits, faults)

    monkeypatch.setattr(check, "LANES", 2)
    monkeypatch.setattr(check, "ChildDevice", on_cpus)
    return tmp_path


@pytest.mark.slow
def test_each_fault_costs_the_bad_candidate_alone(folder: Path) -> None:
    (row,) = check.check_faults(folder)
    assert row == {"found": dict.fromkeys(check.FAULTS, "ok"), "ok": True}


@pytest.mark.slow
def test_a_fault_that_is_another_one_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "FAULTS", {"crash": "timeout"})
    (row,) = check.check_faults(folder)
    assert not row["ok"] and row["found"]["crash"].startswith("timeout expected, Failure(kind='crash'")
