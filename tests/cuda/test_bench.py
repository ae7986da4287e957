"""Measuring on a GPU, with a driver that only counts: checks of outputs, times of tenants, traces, profiles."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from gacer_tune import overhead as overheads
from gacer_tune import runtime
from gacer_tune.artifact import WEIGHTS, Artifact
from gacer_tune.cli import main
from gacer_tune.cli.schedule_words import schedule_words
from gacer_tune.devices import worker
from gacer_tune.devices.cuda.bench import CudaBench
from gacer_tune.devices.profiling import most_variants, nth_variants
from gacer_tune.devices.simulated_gpu import GpuStandIn
from gacer_tune.executor.cuda import session as sessions
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import lane_per_tenant, sequential
from gacer_tune.ir.verify import IllegalScheduleError
from gacer_tune.ir.workload import Workload
from gacer_tune.search.simulated_gpu import GPU_MODELS, simulated_gpu
from gacer_tune.search.streams import STREAM_BASELINES, one_stream, stream_per_tenant
from gacer_tune.search.trial import Failure, Timing
from gacer_tune.search.tune import TuneOptions, tune
from tests.cuda.fake_driver import FakeDriver
from tests.cuda.test_graph import distinct, session_of
from tests.support.workloads import chain, flat_profile

PAIR = distinct(Workload((chain("a", (4, 3), variants=2), chain("b", (2,)))))


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "FLUSH_NBYTES", 64)


def bench_of(lanes: int = 2, **options: Any) -> CudaBench:
    return CudaBench(session_of(PAIR, lanes, **options))


def test_every_schedule_is_right_and_timed() -> None:
    bench, rng = bench_of(), random.Random(3)
    for _ in range(10):
        timing = bench.measure(random_schedule(PAIR, 2, rng), 4)
        assert isinstance(timing, Timing)
        assert len(timing.seconds) == 4
        assert len(timing.completions_s) == 4
        for seconds, row in zip(timing.seconds, timing.completions_s, strict=True):
            assert 0 < max(row) < seconds, "marks lie inside of the run"
            assert min(row) > 0


def test_wrong_outputs_are_a_failure() -> None:
    bench = bench_of()
    driver = bench.session.driver
    assert isinstance(driver, FakeDriver)
    right = driver.compute

    def wrong(function: str, operands: Any, span: tuple[int, int]) -> None:
        right(function, operands, span)
        if function == "b/op0/0/0" and span[1] == 1:
            operands[-1][0] ^= 1

    driver.compute = wrong
    assert isinstance(bench.measure(sequential(PAIR, 1), 1), Timing)
    cut = replace(lane_per_tenant(PAIR, 2), chunks=((0, 0), (2,)))
    assert bench.measure(cut, 1) == Failure("wrong-output", "outputs differ from those of the sequential plan")


def test_a_slow_candidate_is_given_up() -> None:
    timing = bench_of().measure(sequential(PAIR, 1), 50, give_up_s=0.5)
    assert isinstance(timing, Timing)
    assert len(timing.seconds) == 1, "a run of the fake takes more than one second"


def test_pairs_traces_and_profiles() -> None:
    bench = bench_of()
    pairs = bench.compare(sequential(PAIR, 1), lane_per_tenant(PAIR, 2), 5)
    assert len(pairs) == 5
    assert all(a > 0 and b > 0 for a, b in pairs)
    trace = bench.trace(one_stream(PAIR, 2))
    assert [(t, k, lane) for t, k, lane, _, _ in trace] == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    assert trace[0][3] == 0
    assert all(begin < end for *_, begin, end in trace)
    profile = bench.profile()
    assert [[len(row) for row in rows] for rows in profile.alone] == [[2, 2], [1]]
    assert all(seconds > 0 for rows in profile.alone for row in rows for seconds in row)
    driver = bench.session.driver
    assert isinstance(driver, FakeDriver)
    assert len(driver.instances) <= 2, "graphs that are done with are freed"


def test_outputs_are_those_of_the_sequential_plan() -> None:
    bench = bench_of()
    assert sorted(bench.outputs()) == ["0/y", "1/y"]


def test_the_worker_opens_a_gpu_for_a_workload_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, Workload, int]] = []
    made = bench_of()

    def opened(folder: Path, workload: Workload, lanes: int) -> CudaBench:
        asked.append((folder, workload, lanes))
        return made

    monkeypatch.setattr(worker, "open_cuda_bench", opened)
    (tmp_path / "workload.json").write_text(json.dumps({"workload": PAIR.to_json(), "functions": []}))
    bench = worker.open_bench({"folder": str(tmp_path), "cpus": [0, 1]})
    assert bench is made
    assert asked == [(tmp_path, PAIR, 2)]
    reply = worker.answer(bench, {"do": "profile"}, {})
    assert set(reply) == {"profile"}
    measured = worker.answer(bench, {"do": "measure", "schedules": [sequential(PAIR, 1).to_json()], "repeats": 2}, {})
    assert len(measured["timing"]["seconds"]) == 2


def test_kernels_with_fewer_variants_take_their_last() -> None:
    assert most_variants(PAIR) == 2
    assert nth_variants(PAIR, 0) == ((0, 0), (0,))
    assert nth_variants(PAIR, 1) == ((1, 1), (0,))


def test_priorities_of_lanes_are_searched_where_lanes_are_streams() -> None:
    device = GpuStandIn(simulated_gpu(PAIR, GPU_MODELS["h100"], "fp16", 3))
    schedule = replace(stream_per_tenant(PAIR, 3), priorities=(0, 1))
    assert isinstance(device.measure(schedule, 2), Timing)
    assert len(device.trace(schedule)) == 3
    assert "where several lanes could start, first lane 1, then lanes 0, 2" in schedule_words(PAIR, schedule)
    shared = replace(schedule, shares=(5, 0, 2))
    words = "of the 8 parts of the GPU lane 0 has 5, lane 2 has 2; other lanes run on all of them"
    assert words in schedule_words(PAIR, shared) and words not in schedule_words(PAIR, schedule)
    trials = list(tune(PAIR, device, device.gpu.profile, TuneOptions(trials=40, strategy="random", seed=1)))
    found = {trial.schedule.priorities for trial in trials}
    assert () in found and len(found) > 2
    assert all(isinstance(trial.result, Timing) for trial in trials)


def test_lanes_of_a_cpu_have_none() -> None:
    with pytest.raises(IllegalScheduleError, match="priorities: for target cuda only, lanes of target cpu have none"):
        lower(replace(PAIR, target="cpu"), replace(sequential(PAIR, 2), priorities=(1,)))


VARIANTS = ((1, 1), (0,))
FUNCTIONS = {"a/op0/0/1", "a/op1/0/1", "b/op0/0/0"}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runtime.Module:
    """An artifact whose module has the functions of its schedules and no others, on a driver that only counts."""
    made = {"best": stream_per_tenant(PAIR, 2), **{name: make(PAIR, 2) for name, make in STREAM_BASELINES.items()}}
    schedules = {name: replace(schedule, variants=VARIANTS) for name, schedule in made.items()}
    save_file({}, tmp_path / WEIGHTS)
    artifact = Artifact(tmp_path, {"fingerprint": {"gpu": "fake"}}, PAIR, schedules, (), flat_profile(PAIR))
    monkeypatch.setattr(runtime, "_session", lambda _, __, lanes: session_of(PAIR, len(lanes)))
    opened = runtime.Module(artifact, range(2))
    monkeypatch.setattr(runtime, "load", lambda _: opened)
    monkeypatch.setattr(overheads, "load", lambda _: opened)
    return opened


def functions_run(module: runtime.Module) -> set[str]:
    driver = module.session.driver
    assert isinstance(driver, FakeDriver)
    return driver.loaded


def test_overhead_of_an_artifact_is_measured_on_the_device(module: runtime.Module) -> None:
    found = overheads.overhead(module.artifact.folder)
    assert found.kernels_s == 3, "a tick of the fake's clock for each of three slices"
    assert found.wall_s == 1, "without marks inside"
    assert found.handover_s >= 0
    assert functions_run(module) == FUNCTIONS


def test_an_artifact_is_compared_with_its_baselines(module: runtime.Module, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(module.artifact.folder)
    assert main(["bench", folder, "--rounds", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(line["name"], line["peer"], line["rounds"]) for line in said["systems"]] == [
        ("ours", "ours", 4), ("ours sequential", "sequential", 4), ("ours lane_per_tenant", "lane_per_tenant", 4),
        ("ours breadth_first", "breadth_first", 4),
    ]  # fmt: skip
    assert all(line["median_s"] == 1 for line in said["systems"])
    assert said["errors"]["ours sequential"] == {"a/y": 0, "b/y": 0}
    assert said["wrong"] == []
    assert said["machine"] == {"gpu": "fake", "lanes": 2}
    assert functions_run(module) == FUNCTIONS
    assert main(["bench", folder, "--rounds", "4"]) == 0
    assert "faster than the best baseline (ours sequential)" in capsys.readouterr().out


def test_results_that_differ_are_told(module: runtime.Module, capsys: pytest.CaptureFixture[str]) -> None:
    driver = module.session.driver
    right = driver.compute

    def wrong(function: str, operands: Any, span: tuple[int, int]) -> None:
        right(function, operands, span)
        if function == "b/op0/0/0" and span[1] == 1:  # breadth_first is made to cut it
            operands[-1][0] ^= 1

    driver.compute = wrong
    cut = replace(module.artifact.schedules["breadth_first"], chunks=((0, 0), (2,)))
    module.artifact.schedules["breadth_first"] = cut
    assert main(["bench", str(module.artifact.folder), "--rounds", "2"]) == 3
    assert "results differ from ours: ours breadth_first: b/y" in capsys.readouterr().out


def test_other_runtimes_are_refused(module: runtime.Module, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(module.artifact.folder), "--against", "onnxruntime"]) == 2
    assert "--against: onnxruntime would run on the CPU" in capsys.readouterr().err
