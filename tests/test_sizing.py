"""Sizes that are found before schedules are: on a simulated GPU, where what pays is known, and on these cores."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import models
from gacer_tune import inputs, tuning
from gacer_tune.events import Event
from gacer_tune.runtime import load
from gacer_tune.search.sizes import Size
from gacer_tune.settings import Settings, parse_model
from gacer_tune.sizing import sized
from gacer_tune.store.journal import JOURNAL, Journal
from gacer_tune.tuning import Summary, tune
from tests.support.build import model as model_of
from tests.support.build import node
from tests.support.compiled import FOLDER

ONE = Size(1, 1)


def written(name: str, folder: Path) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(models.MODELS[name]().SerializeToString())
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written("tiny_mlp", tmp_path)


def settings(text: str, folder: Path, **changes: object) -> Settings:
    given = {"trials": 3, "budget_s": 60.0, "cache": FOLDER / "tune-cache", "out": folder / "out", **changes}
    return Settings.model_validate({"tenants": (parse_model(text),), **given})


def on_gpu(text: str, folder: Path, **changes: object) -> Settings:
    return settings(text, folder, target="cuda", simulate="h100", **changes)


def quiet(_: Event) -> None:
    """Nobody listens."""


def test_a_large_gpu_has_room_for_all_that_is_allowed(model: Path, tmp_path: Path) -> None:
    summary = tune(on_gpu(f"{model}:batch=1..6:instances=1..2", tmp_path), quiet)
    assert summary.sizes is not None
    assert summary.sizes.names == ("tiny_mlp",) and summary.sizes.chosen == (Size(6, 2),)
    assert [probe.sizes[0] for probe in summary.sizes.probes] == [ONE, Size(2, 1), Size(4, 1), Size(6, 1), Size(6, 2)]
    gains = [probe.gain for probe in summary.sizes.probes]
    assert gains[0] == 1 and gains == sorted(gains) and 6 < summary.sizes.gain == gains[-1] <= 12.1
    assert [row.name for row in summary.rows] == ["tiny_mlp#1", "tiny_mlp#2", "together"]
    assert "<h2>Sizes</h2>" in (tmp_path / "out/report.html").read_text()


def test_an_slo_bounds_the_sizes(tmp_path: Path) -> None:
    """All of a batch are done together, so whoever wants one sooner than 16 together are done gets a smaller batch."""
    model = written("squeezenet", tmp_path)
    whole = tune(on_gpu(f"{model}:batch=4..16", tmp_path), quiet).sizes
    assert whole is not None
    by_batch = {probe.sizes[0].batch: probe.round_s * 1e3 for probe in whole.probes}
    between = (by_batch[8] + by_batch[16]) / 2
    assert 1.1 * by_batch[8] < between < by_batch[16] / 1.1
    found = tune(on_gpu(f"{model}:batch=4..16:slo_ms={between:.9f}", tmp_path), quiet).sizes
    assert found is not None
    assert 8 <= found.chosen[0].batch < 16
    (missed,) = [probe for probe in found.probes if probe.sizes[0].batch == 16]
    assert missed.gain == 0 and missed.why.startswith("95 % of squeezenet in ") and "its SLO is " in missed.why


def test_sizes_that_cannot_be_built_are_none(tmp_path: Path) -> None:
    """A model that has a batch of 1 written into it can have more instances all the same."""
    path = tmp_path / "fixed.onnx"
    flat = {"flat": np.array([1, 8], np.int64), "w": np.ones((8, 4), np.float32)}
    nodes = [node("Reshape", ["x", "flat"], ["rows"]), node("MatMul", ["rows", "w"], ["y"])]
    path.write_bytes(model_of(nodes, {"x": [1, 2, 4]}, ["y"], flat).SerializeToString())
    found = tune(on_gpu(f"{path}:batch=1..4:instances=1..2", tmp_path), quiet).sizes
    assert found is not None
    assert found.chosen == (Size(1, 2),)
    refused = [probe for probe in found.probes if probe.sizes[0].batch == 2]
    assert refused and all(probe.gain == 0 and "fixed.onnx" in probe.why for probe in refused)


@pytest.mark.parametrize("weight", [1, 3])
def test_the_rate_is_the_weighted_geometric_mean(weight: int, model: Path, tmp_path: Path) -> None:
    """Twice the batch of one of two models; the other gets through as much in a round as before."""
    other = written("tiny_branchy", tmp_path)
    tenants = (parse_model(f"{model}:batch=1..2:weight={weight}"), parse_model(str(other)))
    given = on_gpu(f"{model}", tmp_path).model_copy(update={"tenants": tenants})
    found = tune(given, quiet).sizes
    assert found is not None
    least, twice = found.probes
    assert twice.gain == pytest.approx(2 ** (weight / (weight + 1)) * least.round_s / twice.round_s)


def test_without_ranges_nothing_is_tried(model: Path, tmp_path: Path) -> None:
    given = settings(f"{model}:batch=2", tmp_path)
    assert sized(given, quiet, threading.Event(), ExitStack()) == (given, None, None)


def test_who_stops_gets_the_least_sizes(model: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with ExitStack() as stack:
        changed, found, ready = sized(on_gpu(f"{model}:batch=2..6", tmp_path), quiet, stop, stack)
        assert ready is not None and ready.folder.is_dir()
    assert not ready.folder.exists()
    assert found is not None
    assert found.chosen == (Size(2, 1),) and len(found.probes) == 1
    assert [(tenant.batch, tenant.most_batch) for tenant in changed.tenants] == [(2, None)]


def test_what_was_prepared_for_the_chosen_sizes_is_not_prepared_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tuning, "prepare")
    summary = tune(on_gpu(f"{model}:batch=1..4", tmp_path), quiet)
    assert summary.sizes is not None
    assert summary.sizes.chosen == (Size(4, 1),)


@pytest.fixture
def tuned(model: Path, tmp_path: Path) -> Summary:
    return tune(settings(f"{model}:batch=1..2:instances=1..2", tmp_path), quiet)


def test_what_is_written_has_the_chosen_sizes(tuned: Summary, tmp_path: Path) -> None:
    assert tuned.sizes is not None
    (size,) = tuned.sizes.chosen
    module = load(tmp_path / "out")
    assert [tenant.batch for tenant in module.workload.tenants] == [size.batch] * size.instances
    outputs = module.run({tenant.name: inputs.sample(tenant, 0) for tenant in module.workload.tenants})
    for found in outputs.values():
        (array,) = found.values()
        assert len(array) == size.batch and np.isfinite(array).all()


def test_a_resumed_run_keeps_the_sizes(model: Path, tuned: Summary, tmp_path: Path) -> None:
    stages = []
    again = tune(
        settings(f"{model}:batch=1..2:instances=1..2", tmp_path, trials=6, resume=True),
        lambda event: stages.append(event.stage),
    )
    assert again.sizes == tuned.sizes
    assert "size" not in stages
    assert tuned.trials == 4, "the baselines, and what they are timed beside"
    assert again.trials == 6
    records, _ = Journal(tmp_path / "out" / JOURNAL).read()
    assert sum("sizes" in record for record in records) == 1
