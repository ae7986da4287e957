"""What ONNX Runtime computes is kept: for the same model, inputs, version and machine, and only what agrees."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import models
from gacer_tune import checking
from gacer_tune.checking import Expected, expected_outputs, require_agreement
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.settings import Settings
from gacer_tune.store.cache import Cache
from gacer_tune.tenant_settings import TenantSettings
from tests.support.compiled import tiny

NAMES = ("tiny_branchy", "tiny_attention", "tiny_mlp")


@once
def workload() -> Workload:
    """Tenants as they are in a run: each has a digest of its own."""
    tenants = tiny().compiled.workload.tenants
    return Workload(tuple(replace(tenant, model=f"model {number}") for number, tenant in enumerate(tenants)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    paths = [tmp_path / f"{name}.onnx" for name in NAMES]
    for path in paths:
        onnx.save(models.MODELS[path.stem](), str(path))
    return Settings(tenants=tuple(TenantSettings(name=path.stem, path=path) for path in paths), out=tmp_path / "out")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tenants that ONNX Runtime has really run."""
    ran: list[str] = []
    right = checking.run_onnxruntime

    def counted(model: str | bytes, tenant: Tenant, values: Any) -> dict[str, Any]:
        ran.append(tenant.name)
        return right(model, tenant, values)

    monkeypatch.setattr(checking, "run_onnxruntime", counted)
    return ran


def asked(settings: Settings, cache: Cache, given: Workload | None = None) -> tuple[Expected, ...]:
    found = expected_outputs(settings, given or workload(), 0, cache)
    assert found is not None
    return found


def agree(settings: Settings, cache: Cache, expected: tuple[Expected, ...], factor: float = 1.0) -> None:
    ours = {f"{n}/{name}": a * factor for n, one in enumerate(expected) for name, a in one.outputs.items()}
    require_agreement(settings, workload(), ours, expected, cache)


def values(expected: tuple[Expected, ...]) -> list[dict[str, list[Any]]]:
    return [{name: np.asarray(array).tolist() for name, array in one.outputs.items()} for one in expected]


def test_what_agreed_is_not_computed_again(settings: Settings, cache: Cache, runs: list[str]) -> None:
    first = asked(settings, cache)
    agree(settings, cache, first)
    again = asked(settings, cache)
    assert runs == list(NAMES)
    assert [one.fresh for one in (*first, *again)] == [True] * 3 + [False] * 3
    assert values(again) == values(first)


def test_what_differs_is_our_bug_and_is_not_kept(settings: Settings, cache: Cache, runs: list[str]) -> None:
    with pytest.raises(RuntimeError, match=r"tiny_branchy: output .* differs from ONNX Runtime by 0\.5 of its largest"):
        agree(settings, cache, asked(settings, cache), 1.5)
    asked(settings, cache)
    assert runs == 2 * list(NAMES)


def test_kept_outputs_are_compared_like_others(settings: Settings, cache: Cache, runs: list[str]) -> None:
    agree(settings, cache, asked(settings, cache))
    with pytest.raises(RuntimeError, match="differs from ONNX Runtime"):
        agree(settings, cache, asked(settings, cache), 1.5)
    assert runs == list(NAMES)


def test_another_model_input_or_version_is_computed(
    settings: Settings, cache: Cache, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(settings, cache, asked(settings, cache))
    runs.clear()
    tenants = workload().tenants
    asked(settings, cache, Workload((replace(tenants[0], model="retrained"), *tenants[1:])))
    assert runs == ["tiny_branchy"]
    asked(settings, cache, Workload((replace(tenants[0], name="renamed"), *tenants[1:])))
    assert runs == ["tiny_branchy", "renamed"], "the sample inputs go by the name"
    monkeypatch.setattr(checking, "versions", lambda *packages: "later " + " ".join(packages))
    asked(settings, cache)
    assert runs == ["tiny_branchy", "renamed", *NAMES]


def test_damaged_outputs_are_made_anew_with_one_warning(
    settings: Settings, cache: Cache, runs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    agree(settings, cache, asked(settings, cache))
    path = cache.list()[0].path
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    with caplog.at_level(logging.WARNING):
        again = asked(settings, cache)
    assert [record.message for record in caplog.records] == [f"{path}: damaged, it is made anew"]
    assert sum(one.fresh for one in again) == 1 and len(runs) == 4
    agree(settings, cache, again)
    assert not any(one.fresh for one in asked(settings, cache))


def test_a_cache_that_cannot_be_written_costs_a_warning_for_each(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        agree(settings, cache, asked(settings, Cache(tmp_path / "cache")))
        require = [record.message for record in caplog.records]
    assert len(require) == 3 and all("not kept for later runs" in text for text in require)


def test_a_model_that_onnxruntime_cannot_run_is_not_compared(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = checking.run_onnxruntime

    def run(model: str | bytes, tenant: Tenant, values: Any) -> dict[str, Any]:
        return right(b"no model" if tenant.name == "tiny_mlp" else model, tenant, values)

    monkeypatch.setattr(checking, "run_onnxruntime", run)
    store = Cache(tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        found = asked(settings, store)
    assert [bool(one.outputs) for one in found] == [True, True, False]
    (line,) = caplog.messages
    assert line.startswith("not compared with ONNX Runtime, which cannot run it: tiny_mlp: ")
    ours = {f"{number}/{name}": array for number, one in enumerate(found) for name, array in one.outputs.items()}
    require_agreement(settings, workload(), ours, found, store)
    assert [bool(one.outputs) for one in asked(settings, store)] == [True, True, False]
