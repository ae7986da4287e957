"""Precision bf16 on a CPU: what is asked for, what is refused, and what a model comes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import models
from gacer_tune import runtime, targets
from gacer_tune.checking import TOLERANCE, TOLERANCES, relative_error
from gacer_tune.cli.given import read_settings
from gacer_tune.cli.tune import unused_precision
from gacer_tune.errors import UserError
from gacer_tune.executor import amx
from gacer_tune.kernels.machine import AMX
from gacer_tune.kernels.narrow import NarrowConv
from gacer_tune.regression.measuring import measure
from gacer_tune.runtime import load
from gacer_tune.settings import Settings
from gacer_tune.store.cache import Cache
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.store.schedules import BFLOAT16, records
from gacer_tune.tuning import tune
from tests.support.build import run
from tests.support.compiled import FOLDER, NEEDS_AMX, Built, emulated, lowered_alone, narrow, silent


@pytest.fixture
def without_amx(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor that has all but AMX."""
    flags = tuple(sorted(set(amx.FLAGS) - {"amx_tile", "amx_bf16"}))
    monkeypatch.setattr(amx, "host_fingerprint", lambda: replace(host_fingerprint(), flags=flags))
    yield


@pytest.fixture
def not_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that keeps tiles to itself."""
    monkeypatch.setattr(amx, "host_fingerprint", lambda: replace(host_fingerprint(), flags=tuple(amx.FLAGS)))
    monkeypatch.setattr(amx, "ctypes", SimpleNamespace(CDLL=lambda _: SimpleNamespace(syscall=lambda *_: -1)))
    yield


def written(name: str, folder: Path) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(models.MODELS[name]().SerializeToString())
    return path


def tuned(name: str, precision: str, folder: Path) -> Path:
    """An artifact of a model."""
    settings = Settings.model_validate({
        "tenants": ({"path": written(name, folder)},), "precision": precision, "trials": 5, "budget_s": 30.0,
        "cache": FOLDER / "tune-cache", "out": folder / precision,
    })  # fmt: skip
    tune(settings, silent)
    return folder / precision


def test_a_model_comes_near_to_float32_and_is_not_the_same() -> None:
    built: Built = narrow()
    found, session = built.bench.outputs(), built.bench.session
    for number, (proto, tenant) in enumerate(zip(built.models, built.compiled.workload.tenants, strict=True)):
        feeds = {port.name: session.port(number, port) for port in tenant.inputs}
        for port, expected in zip(tenant.outputs, run(proto, feeds), strict=True):
            difference = relative_error(found[f"{number}/{port.name}"], expected)
            assert 1e-5 < difference <= TOLERANCES["bf16"], f"{tenant.name}: {difference}"
            assert port.dtype == "float32"


def test_values_and_weights_of_products_take_half_the_memory() -> None:
    model = models.MODELS["tiny_branchy"]()
    plain, rounded = lowered_alone(model), lowered_alone(model, emulated())
    products = [kernel.spec for op in rounded.ops for kernel in op.kernels if isinstance(kernel.spec, NarrowConv)]
    assert len(products) >= 3
    assert {spec.source.dtype for spec in products[1:]} == {"bfloat16"}, "the first one reads the input as it is"
    half = {array.nbytes for array in rounded.weights.values() if array.dtype == np.uint16}
    assert len(half) >= 3 and {array.dtype for array in plain.weights.values()} == {np.dtype(np.float32)}
    inside = [sum(buffer.nbytes for buffer in low.buffers if buffer.kind == "value") for low in (plain, rounded)]
    assert inside[1] < 0.6 * inside[0]


def test_precisions_of_a_target(tmp_path: Path) -> None:
    path = str(written("tiny_mlp", tmp_path))
    with pytest.raises(UserError, match="precision tf32: with target cpu fp32 or bf16"):
        read_settings([path], options={"precision": "tf32"})
    with pytest.raises(UserError, match="precision bf16: with target cuda fp16, tf32 or fp32"):
        read_settings([path], options={"precision": "bf16", "target": "cuda"})
    assert read_settings([path]).chosen_precision == "fp32"
    assert read_settings([path], options={"target": "cuda"}).chosen_precision == "fp16"
    with pytest.raises(UserError, match="kernels metaschedule: only with precision fp32, not with bf16"):
        read_settings([path], options={"precision": "bf16", "kernels": "metaschedule"})


@pytest.mark.usefixtures("without_amx")
def test_a_processor_without_amx_is_refused_by_name(tmp_path: Path) -> None:
    settings = read_settings([str(written("tiny_mlp", tmp_path))], options={"precision": "bf16"})
    with pytest.raises(UserError, match="precision bf16: this processor lacks amx_bf16, amx_tile"):
        targets.machine_of(settings)
    assert targets.machine_of(read_settings([str(tmp_path / "tiny_mlp.onnx")])).precision == "fp32"


@pytest.mark.usefixtures("not_allowed")
def test_a_system_that_does_not_allow_it_is_named() -> None:
    with pytest.raises(UserError, match="precision bf16: the system does not let this process use AMX"):
        targets.machine_here("bf16")


def test_who_chose_no_precision_is_told_of_the_faster_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where this processor has it."""
    model = [str(written("tiny_mlp", tmp_path))]

    def hint(**given: str) -> str:
        return unused_precision(read_settings(model, (), None, given))

    monkeypatch.setattr(amx, "missing", lambda: "")
    assert "--precision bf16" in hint()
    chosen = [hint(precision="fp32"), hint(precision="bf16"), hint(kernels="metaschedule"), hint(target="cuda")]
    monkeypatch.setattr(amx, "missing", lambda: "this processor lacks amx_tile")
    assert [*chosen, hint()] == [""] * 5


@pytest.mark.usefixtures("without_amx")
def test_an_artifact_is_refused_where_there_is_no_amx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = tuned("tiny_mlp", "fp32", tmp_path)
    found = runtime.read_artifact(artifact)
    marked = replace(found, manifest={**found.manifest, "isa": "amx", "precision": "bf16"})
    monkeypatch.setattr(runtime, "read_artifact", lambda _: marked)
    with pytest.raises(UserError, match="compiled for amx: this processor lacks amx_bf16, amx_tile"):
        load(artifact)


@NEEDS_AMX
def test_tuned_run_and_held_against_float32(tmp_path: Path) -> None:
    made = {precision: load(tuned("tiny_attention", precision, tmp_path)) for precision in ("fp32", "bf16")}
    known = [record for _, record in records(Cache(FOLDER / "tune-cache")) if record.tenants == ("tiny_attention",)]
    assert {record.gpu for record in known} >= {"", BFLOAT16}, "each has its own"
    manifest = made["bf16"].artifact.manifest
    assert (manifest["isa"], manifest["precision"]) == (AMX.isa, "bf16")
    assert made["fp32"].artifact.precision == "fp32"
    (difference,) = measure(tmp_path / "fp32", tmp_path / "bf16", 3, 0, lambda _: None).outputs
    assert TOLERANCE / 100 < difference.error <= difference.allowed == TOLERANCES["bf16"] and difference.tolerable
