"""tune as its users run it: a folder that a fresh process loads, resuming after a kill, two at once on one cache."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from gacer_tune import inputs, runtime
from gacer_tune.artifact import Artifact
from gacer_tune.devices.bench import Bench
from gacer_tune.errors import UserError
from gacer_tune.overhead import overhead
from gacer_tune.runtime import load
from gacer_tune.store.journal import Journal
from tests.support.compiled import FOLDER

ROOT = Path(__file__).parent.parent
CACHE = FOLDER / "tune-cache"

FRESH = """
import json, sys
import numpy as np
from gacer_tune import inputs
from gacer_tune.runtime import load

module = load(sys.argv[1])
given = {tenant.name: inputs.sample(tenant, 0) for tenant in module.workload.tenants}
together = module.run(given)
alone = {name: module.run_one(name, given[name]) for name in module.tenants}
same = all(np.array_equal(together[t][o], alone[t][o]) for t in together for o in together[t])
heavy = {"tvm", "onnx", "onnxruntime", "xgboost", "scipy", "pydantic", "typer", "rich", "filelock", "platformdirs"}
print(json.dumps({
    "tenants": module.tenants, "same": same, "heavy": sorted(heavy & set(sys.modules)),
    "sum": {name: float(sum(np.abs(a).sum() for a in outputs.values())) for name, outputs in together.items()},
    "trace": len(module.trace()),
}))
"""


def command(files: list[Path], out: Path, *options: str) -> list[str]:
    tune = [sys.executable, "-m", "gacer_tune", "tune", *map(str, files), "--out", str(out), "--json"]
    return [*tune, "--cache", str(CACHE), *options]


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for name in ("tiny_branchy", "tiny_attention"):
        path = folder / f"{name}.onnx"
        path.write_bytes(models.MODELS[name]().SerializeToString())
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def tuned(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("tuned") / "out"
    return out, finish(start(command(files, out, "--budget", "4s")))


def test_the_last_line_says_what_came_out(tuned: tuple[Path, dict[str, Any]]) -> None:
    out, summary = tuned
    wanted = {
        "artifact", "baseline_s", "best_s", "speedup", "p_value",
        "trials", "failed_trials", "strategy", "seconds_spent",
    }  # fmt: skip
    assert wanted <= set(summary)
    assert summary["trials"] >= 3 and summary["failed_trials"] == 0
    assert 0 < summary["best_s"] <= summary["baseline_s"] * 1.0001
    assert Path(summary["artifact"]) == out
    names = {path.name for path in out.iterdir()}
    listed = {"module.so", "weights.safetensors", "schedule.json", "manifest.json", "trials.jsonl", "report.html"}
    assert listed | {"trace.json"} <= names
    assert [row["name"] for row in summary["rows"]] == ["tiny_branchy", "tiny_attention", "together"]


def test_a_fresh_process_runs_the_module_without_tuner_or_compiler(tuned: tuple[Path, dict[str, Any]]) -> None:
    done = subprocess.run([sys.executable, "-c", FRESH, str(tuned[0])], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["tenants"] == ["tiny_branchy", "tiny_attention"]
    assert found["heavy"] == []
    assert found["same"]
    assert all(np.isfinite(total) and total > 0 for total in found["sum"].values())
    assert found["trace"] > 0


def test_a_closed_module_gives_its_memory_back_and_runs_no_more(tuned: tuple[Path, dict[str, Any]]) -> None:
    with load(tuned[0]) as module:
        memory = weakref.ref(module.session.bytes.base)
        module.run({t.name: inputs.sample(t, 0) for t in module.workload.tenants})
        assert memory() is not None
    assert memory() is None
    with pytest.raises(UserError, match="this module is closed, load it again"):
        module.run({t.name: inputs.sample(t, 0) for t in module.workload.tenants})
    module.close()


def test_an_artifact_that_is_published_anew_while_it_is_loaded_is_refused(
    tuned: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files were checked one by one; none of them may be another one when it is used."""
    out, read = tmp_path / "out", runtime.read_artifact
    shutil.copytree(tuned[0], out)

    def published(folder: Path) -> Artifact:
        found = read(folder)
        shutil.copyfile(out / "weights.safetensors", out / "staged")
        (out / "staged").replace(out / "weights.safetensors")
        return found

    assert load(out).tenants == ["tiny_branchy", "tiny_attention"]
    monkeypatch.setattr(runtime, "read_artifact", published)
    with pytest.raises(UserError, match=r"out: published anew while it was being loaded, load it again"):
        load(out)


@pytest.mark.parametrize("cpus", [(-1, 0), (0, 0), (0, 99_999)])
def test_cpus_that_cannot_be_had_are_refused(tuned: tuple[Path, dict[str, Any]], cpus: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"cpus: .* given, allowed: each once of \d"):
        load(tuned[0], cpus)


def test_overhead_is_measured_with_the_functions_the_module_has(tuned: tuple[Path, dict[str, Any]]) -> None:
    """The module holds only the variants its schedules use, so nothing else may be asked of it."""
    module = load(tuned[0])
    held = set(module.artifact.functions)
    unused = [k for t in module.workload.tenants for k in t.kernels if k.variants[0].function not in held]
    found = overhead(tuned[0])
    assert found.ratio > 1 and 0 < found.kernels_s < found.wall_s
    assert 0 <= found.handover_s < 1
    if unused:
        with pytest.raises(KeyError):
            Bench(module.session)


def test_a_killed_run_resumes_with_every_finished_trial(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    journal = Journal(out / "journal.jsonl")
    process = start(command(files, out, "--budget", "60s"))
    deadline = time.monotonic() + 120
    while len(journal.read()[0] if journal.path.exists() else []) < 6:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = journal.read()[0]
    assert not (out / "manifest.json").exists(), "nothing half-written can be loaded"
    summary = finish(start(command(files, out, "--budget", "2s", "--resume")))
    after = journal.read()[0]
    assert after[: len(before)] == before
    assert summary["trials"] == len(after) > len(before)
    numbers = [record["trial"]["number"] for record in after]
    assert numbers == list(range(len(after)))


def test_two_runs_share_one_cache(files: list[Path], tmp_path: Path) -> None:
    runs = [start(command(files, tmp_path / name, "--budget", "3s")) for name in ("one", "two")]
    summaries = [finish(run) for run in runs]
    for name, summary in zip(("one", "two"), summaries, strict=True):
        records, damage = Journal(tmp_path / name / "journal.jsonl").read()
        assert not damage
        assert len(records) == summary["trials"] >= 3


def test_an_interrupt_finishes_the_trial_and_saves(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(command(files, out, "--budget", "120s"))
    journal, deadline = Journal(out / "journal.jsonl"), time.monotonic() + 120
    while len(journal.read()[0] if journal.path.exists() else []) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert json.loads(stdout.strip().splitlines()[-1])["interrupted"]
    assert (out / "manifest.json").exists()


def test_an_interrupt_of_all_processes_lets_kernels_be_compiled(files: list[Path], tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to compilers and linkers, too: the first one is for the tuner alone."""
    cache, arguments = tmp_path / "cache", command(files, tmp_path / "out", "--budget", "60s")
    arguments[arguments.index(str(CACHE))] = str(cache)
    process = subprocess.Popen(
        arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(cache.glob("*/*.o")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 130, stderr
    assert json.loads(stdout.strip().splitlines()[-1])["interrupted"]
    assert load(tmp_path / "out").tenants == ["tiny_branchy", "tiny_attention"]


def test_a_budget_that_is_too_small_still_writes_the_best_baseline(files: list[Path], tmp_path: Path) -> None:
    found = finish(start(command(files[:1], tmp_path / "out", "--budget", "0.0001s")))
    assert found["trials"] == 4, "the baselines, and what they are timed beside"
    assert found["stopped"].startswith("the time is used up, the baselines alone took ")
    assert load(tmp_path / "out").tenants == ["tiny_branchy"]


def test_a_search_says_what_earlier_ones_taught_it_and_can_be_told_to_forget(tmp_path: Path) -> None:
    """Two mixes with no model in common on one cache, and the second one again as if there had been none."""
    paths = [tmp_path / f"{name}.onnx" for name in ("tiny_branchy", "tiny_mlp", "tiny_attention")]
    for path in paths:
        path.write_bytes(models.MODELS[path.stem]().SerializeToString())
    cache = ("--cache", str(tmp_path / "cache"), "--trials", "24", "--budget", "30s")
    first = finish(start(command(paths[:2], tmp_path / "one", *cache)))
    second = finish(start(command(paths[2:], tmp_path / "two", *cache)))
    assert first["started"] == ""
    assert second["started"].startswith("what ") and second["started"].endswith("of tiny_branchy+tiny_mlp have taught")
    again = finish(start(command(paths[2:], tmp_path / "three", *cache)))
    assert again["started"].startswith("1 cached schedule and what ")
    alone = finish(start(command(paths[2:], tmp_path / "four", *cache, "--no-warm-start")))
    assert alone["started"] == ""


def test_a_second_run_starts_from_what_the_first_one_kept_and_mends_what_is_damaged(tmp_path: Path) -> None:
    path, cache = tmp_path / "tiny_mlp.onnx", tmp_path / "cache"
    path.write_bytes(models.MODELS["tiny_mlp"]().SerializeToString())
    options = ("--cache", str(cache), "--trials", "4", "--budget", "30s")
    finish(start(command([path], tmp_path / "one", *options)))
    kept = [file for kind in ("lowered", "safetensors", "outputs") for file in cache.glob(f"??/*.{kind}")]
    assert len(kept) == 3
    before = {file: file.read_bytes() for file in kept}
    for file in kept:
        file.write_bytes(b"damaged")
    again = start(command([path], tmp_path / "two", *options))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert {file: file.read_bytes() for file in kept} == before
    told = [line for line in said.splitlines() if "damaged, it is made anew" in line]
    assert [sum(str(file) in line for line in told) for file in kept[::2]] == [1, 1], "the document, and the outputs"
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
