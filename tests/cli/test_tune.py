"""gacer-tune tune: what it asks for, what it says, and what Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from gacer_tune.cli import main
from gacer_tune.events import Event, Listen
from gacer_tune.executor import amx
from gacer_tune.search.sizes import Probe, Size, Sized
from gacer_tune.settings import Settings
from tests.cli.support import Cli, Fake


@dataclass(frozen=True)
class Row:
    name: str
    sequential_s: float
    lane_per_tenant_s: float
    tuned_s: float
    breadth_first_s: float


@dataclass(frozen=True)
class Summary:
    accepted: bool = True
    speedup: float = 1.234
    p_value: float = 0.001
    artifact: Path = Path("out")
    baseline: str = "lane_per_tenant"
    baseline_s: float = 0.0185
    best_s: float = 0.015
    origin: str = "evolve"
    trials: int = 41
    failed_trials: int = 2
    strategy: str = "evolve"
    seconds_spent: float = 125.0
    trials_per_minute: float = 19.7
    rows: tuple[Row, ...] = (Row("det", 0.01, 0.012, 0.008, 0.009), Row("together", 0.021, 0.0185, 0.015, 0.02))
    stopped: str = "the time is used up"
    interval_s: tuple[float, float] = (0.0148, 0.0153)
    refused: str = ""
    started: str = "2 cached schedules and what 214 plans of det+seg have taught"
    files: tuple[Path, ...] = (Path("out/module.so"), Path("out/manifest.json"))
    sizes: Sized | None = None


@dataclass(frozen=True)
class DryRun:
    tenants: int = 2
    ops: int = 70
    kernels: int = 75
    functions_to_compile: int = 120
    lanes: int = 2
    budget_s: float = 120.0
    kernels_to_search: int = 0
    kernel_trials: int = 0
    search_s: float = 0.0


class Tuning:
    """Stands for gacer_tune.tuning: keeps what it was asked for."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.asked: list[Settings] = []
        self.dry: list[Settings] = []
        self.plan = DryRun()

    def tune(self, settings: Settings, listen: Listen, stop: threading.Event) -> Summary:
        assert not stop.is_set()
        listen(Event("search", done=3, failed=1, best_s=0.01, baseline_s=0.012, left_s=45.0))
        self.asked.append(settings)
        return self.summary

    def plan_dry(self, settings: Settings, _: Listen) -> DryRun:
        self.dry.append(settings)
        return self.plan


@pytest.fixture
def tuning(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Tuning:
    monkeypatch.setattr(amx, "missing", lambda: "this processor lacks amx_tile")
    made = Tuning(Summary())
    fake("gacer_tune.tuning", tune=made.tune)
    fake("gacer_tune.dry_run", plan_dry=made.plan_dry)
    return made


def test_a_run_ends_with_a_table_a_sentence_and_the_paths(cli: Cli, models: Path, tuning: Tuning) -> None:
    said = cli("tune", models / "det.onnx", models / "seg.onnx")
    assert said.code == 0
    assert said.err == "3 trials, 1 failed; best 10.0 ms, baseline 12.0 ms (1.20x); 45 s left\n"
    lines = said.out.splitlines()
    heads = [part.strip() for part in lines[1].strip("┃").split("┃")]
    assert heads == ["until done", "sequential", "lane per tenant", "breadth first", "tuned", "gain"]
    rows = [[part.strip() for part in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [
        ["det", "10.0 ms", "12.0 ms", "9.00 ms", "8.00 ms", "1.12x"],
        ["together", "21.0 ms", "18.5 ms", "20.0 ms", "15.0 ms", "1.23x"],
    ]
    assert "1.23x faster than the best baseline (lane per tenant), p = 0.001." in lines
    assert "what was written takes 15.0 ms (95 % interval 14.8 ms to 15.3 ms)." in lines
    assert lines[-3:] == [
        "41 trials, 2 failed, in 2 min 05 s; the search ended: the time is used up. Written:",
        "  out/module.so",
        "  out/manifest.json",
    ]  # fmt: skip
    assert [tenant.name for tenant in tuning.asked[0].tenants] == ["det", "seg"]


@pytest.mark.usefixtures("tuning")
def test_a_faster_precision_is_named(cli: Cli, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "missing", lambda: "")
    *_, hint, trials, _, _ = cli("tune", models / "det.onnx").out.splitlines()
    assert "--precision bf16" in hint and trials.startswith("41 trials")
    assert "bf16" not in cli("tune", models / "det.onnx", "--precision", "fp32").out


def test_sizes_that_were_tried_are_shown_with_what_became_of_them(cli: Cli, models: Path, tuning: Tuning) -> None:
    least, more, most = (Size(1, 1),), (Size(4, 2),), (Size(8, 2),)
    probes = (
        Probe(least, 1.0, "sequential", 0.01),
        Probe(more, 1.6, "lane_per_tenant", 0.05),
        Probe(most, 0.0, "lane_per_tenant", 0.09, "95 % of det#1 in 91 ms, its SLO is 60 ms"),
    )
    tuning.summary = Summary(sizes=Sized(("det",), least, most, probes, more))
    said = cli("tune", f"{models / 'det.onnx'}:batch=1..8:instances=1..2")
    assert said.code == 0, said.err
    (asked,) = tuning.asked[0].tenants
    assert (asked.batch, asked.most_batch, asked.most_instances) == (1, 8, 2)
    lines = said.out.splitlines()
    rows = [[part.strip() for part in line.strip("│").split("│")] for line in lines[:7] if line.startswith("│")]
    assert rows == [
        ["det 1", "sequential", "10.0 ms", "1.00x"],
        ["det 4 x 2", "lane per tenant", "50.0 ms", "1.60x"],
        ["det 8 x 2", "lane per tenant", "90.0 ms", "95 % of det#1 in 91 ms, its SLO is 60 ms"],
    ]
    assert "sizes: det 4 x 2, 1.60x the rate." in lines


def test_a_dry_run_says_which_sizes_would_be_tried(cli: Cli, models: Path, tuning: Tuning) -> None:
    said = cli("tune", f"{models / 'det.onnx'}:batch=1..8", models / "seg.onnx", "--dry-run")
    assert said.code == 0
    assert (
        "Before it, sizes of det would be tried, beginning with the least ones, which these figures have." in said.out
    )
    assert [tenant.batch for tenant in tuning.dry[0].tenants] == [1, None]
    assert "sizes" not in cli("tune", models / "det.onnx", "--dry-run").out


def test_no_gain_is_said_plainly(cli: Cli, models: Path, tuning: Tuning) -> None:
    tuning.summary = Summary(accepted=False, speedup=1.0, p_value=0.4, baseline="sequential")
    said = cli("tune", models / "det.onnx")
    assert said.code == 0
    assert "nothing better than sequential was found (p = 0.4); it was written." in said.out.splitlines()


def test_json_is_the_last_line_and_alone_on_stdout(cli: Cli, models: Path, tuning: Tuning) -> None:
    said = cli("tune", models / "det.onnx", "--json")
    assert said.code == 0
    assert len(said.out.splitlines()) == 1
    found = said.last
    preparation = found.pop("preparation")
    assert preparation["first_measured_s"] > 0
    assert preparation["compiled"] == preparation["cached"] == 0
    assert found == {
        "artifact": "out", "accepted": True, "baseline": "lane_per_tenant", "baseline_s": 0.0185, "best_s": 0.015,
        "failed_trials": 2, "files": ["out/module.so", "out/manifest.json"], "interrupted": False, "origin": "evolve",
        "p_value": 0.001, "seconds_spent": 125.0, "speedup": 1.234, "strategy": "evolve", "trials": 41,
        "trials_per_minute": 19.7, "stopped": "the time is used up", "interval_s": [0.0148, 0.0153],
        "refused": "", "sizes": None, "started": "2 cached schedules and what 214 plans of det+seg have taught",
        "rows": [
            dict(name="det", sequential_s=0.01, lane_per_tenant_s=0.012, tuned_s=0.008, breadth_first_s=0.009),
            dict(name="together", sequential_s=0.021, lane_per_tenant_s=0.0185, tuned_s=0.015, breadth_first_s=0.02),
        ],
    }  # fmt: skip
    assert "1.23x faster" in said.err
    assert tuning.asked


def test_options_override_the_file(cli: Cli, models: Path, tuning: Tuning) -> None:
    (models / "w.yaml").write_text(
        "tenants: [{path: det.onnx, batch: 8}, seg.onnx]\nbudget: 9\nseed: 4\nresume: true\nbatch: 2\nout: a\n"
    )
    said = cli(
        "tune", "-c", "w.yaml", "--budget", "2m", "--lanes", "1", "--batch", "3", "--only", "spatial", "-o", "b",
        "--shape", "seg:x=1x3", "--cache", "kernels", "--strategy", "random", "--objective", "throughput",
        "--trials", "7", "--target", "cpu",
    )  # fmt: skip
    assert said.code == 0
    found = tuning.asked[0]
    assert (found.budget_s, found.lanes, found.seed, found.resume, found.only) == (120.0, 1, 4, True, "spatial")
    assert (found.strategy, found.objective, found.trials) == ("random", "throughput", 7)
    assert (found.out, found.cache) == (Path("b"), Path("kernels"))
    assert [tenant.batch for tenant in found.tenants] == [8, 3]
    assert [tenant.shapes for tenant in found.tenants] == [{}, {"x": (1, 3)}]
    assert cli("tune", "-c", "w.yaml", "cls.onnx").code == 0
    assert [tenant.name for tenant in tuning.asked[1].tenants] == ["cls"]
    assert (tuning.asked[1].tenants[0].batch, tuning.asked[1].out) == (2, Path("a"))


def test_a_shape_for_a_base_name_is_for_all_its_instances(cli: Cli, models: Path, tuning: Tuning) -> None:
    assert cli("tune", "det.onnx:instances=2", "seg.onnx", "--shape", "det:x=4", "--shape", "det#2:y=5").code == 0
    shapes = [tenant.shapes for tenant in tuning.asked[0].tenants]
    assert shapes == [{"x": (4,)}, {"x": (4,), "y": (5,)}, {}]
    assert models.exists()


def test_a_dry_run_only_counts(cli: Cli, models: Path, tuning: Tuning) -> None:
    said = cli("tune", models / "det.onnx", "--dry-run", "--json")
    assert said.code == 0
    assert said.last == {
        "dry_run": True, "tenants": 2, "ops": 70, "kernels": 75, "functions_to_compile": 120, "lanes": 2,
        "budget_s": 120.0, "kernels_to_search": 0, "kernel_trials": 0, "search_s": 0.0,
    }  # fmt: skip
    assert "120 functions are still to be compiled" in said.err
    assert "MetaSchedule" not in said.err
    assert (len(tuning.dry), tuning.asked) == (1, [])


def test_a_dry_run_says_how_long_kernels_would_be_searched(cli: Cli, models: Path, tuning: Tuning) -> None:
    tuning.plan = DryRun(kernels_to_search=9, kernel_trials=500, search_s=150.0)
    said = cli("tune", models / "det.onnx", "--dry-run", "--kernels", "metaschedule")
    assert said.code == 0
    assert (
        "Before it, MetaSchedule would search 9 kernels until each has had 64 trials, 500 in all: about 2 min 30 s, "
        "at 300 ms a trial on two quiet cores."
    ) in said.out


def test_the_first_interrupt_lets_the_run_finish(models: Path, fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    def tune(_: Settings, __: Listen, stop: threading.Event) -> Summary:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        return Summary()

    fake("gacer_tune.tuning", tune=tune)
    before = signal.getsignal(signal.SIGINT)
    assert main(["tune", str(models / "det.onnx"), "--json"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    captured = capfd.readouterr()
    assert json.loads(captured.out)["interrupted"] is True
    assert captured.err.startswith(
        "\nstopping: the trial in flight is finished and the best so far is written; Ctrl-C again stops at once\n"
    )
    assert "1.23x faster" in captured.err


def test_the_second_interrupt_stops_at_once(cli: Cli, models: Path, fake: Fake) -> None:
    reached = []

    def tune(_: Settings, __: Listen, stop: threading.Event) -> Summary:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(10)  # the signal arrives here at the latest
        reached.append(True)
        return Summary()

    fake("gacer_tune.tuning", tune=tune)
    said = cli("tune", models / "det.onnx")
    assert (said.code, said.out, reached) == (130, "", [])
    assert said.err == "interrupted: no artifact was written; --resume goes on with the trials in out\n"
