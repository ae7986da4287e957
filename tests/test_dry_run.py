"""What a dry run counts, of a real model and a cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import models
from gacer_tune.cli.given import read_settings
from gacer_tune.dry_run import KERNEL_TRIAL_S, DryRun, plan_dry
from gacer_tune.metaschedule.records import Attempt, KernelRecord, put
from gacer_tune.metaschedule.variants import heavy
from gacer_tune.preparing import read_models
from gacer_tune.search.trial import Failure
from gacer_tune.settings import Settings
from gacer_tune.store.cache import Cache
from gacer_tune.tenants import assemble
from tests.support.scheduled import MACHINE, empty, tile_of


def settings(folder: Path, kernels: str) -> Settings:
    path = folder / "tiny_branchy.onnx"
    path.write_bytes(models.MODELS["tiny_branchy"]().SerializeToString())
    options = {"kernels": kernels, "cache": folder / "cache", "lanes": 1}
    return read_settings([str(path)], options=options)


def counted(given: Settings) -> DryRun:
    return plan_dry(given, lambda _: None)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[KernelRecord]:
    """Empty ones of all kernels that MetaSchedule would search."""
    given = settings(tmp_path_factory.mktemp("models"), "metaschedule")
    return [empty(source.spec) for source in heavy(assemble(read_models(given, MACHINE, lambda _: None), MACHINE))]


def test_what_metaschedule_has_tried_is_not_counted(tmp_path: Path, records: list[KernelRecord]) -> None:
    asked = settings(tmp_path, "metaschedule")
    assert len(records) > 2
    assert [counted(asked).kernels_to_search, counted(asked).kernel_trials] == [len(records), 64 * len(records)]
    tried = tuple(Attempt(tile_of(records[1].spec, n), Failure("crash", "signal 11")) for n in range(10))
    for record in (replace(records[0], asked=64), replace(records[1], attempts=tried)):
        put(Cache(tmp_path / "cache"), record)
    plan = counted(asked)
    left = 64 * (len(records) - 1) - 10
    assert (plan.kernels_to_search, plan.kernel_trials) == (len(records) - 1, left)
    assert plan.search_s == pytest.approx(KERNEL_TRIAL_S * left)


def test_without_metaschedule_nothing_would_be_searched(tmp_path: Path) -> None:
    plan = counted(settings(tmp_path, "own"))
    assert (plan.tenants, plan.lanes, plan.kernels_to_search, plan.kernel_trials) == (1, 1, 0, 0)
    assert plan.kernels > 2 and plan.functions_to_compile > plan.kernels
