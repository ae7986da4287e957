"""Two real artifacts: run in turns, their outputs compared, and a regression found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import models
from gacer_tune.cli import main
from gacer_tune.regression import measuring
from gacer_tune.regression.measuring import Measured, measure
from gacer_tune.store.publish import open_artifact, publish
from tests.support.compiled import FOLDER

NAMES = ("tiny_mlp", "tiny_attention")
PAIRS = 6


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two tiny models, made by the tuner in a second."""
    folder = tmp_path_factory.mktemp("check")
    for name in NAMES:
        (folder / f"{name}.onnx").write_bytes(models.MODELS[name]().SerializeToString())
    files = [str(folder / f"{name}.onnx") for name in NAMES]
    options = ["--budget", "1s", "--lanes", "2", "--out", str(folder / "out"), "--cache", str(FOLDER / "tune-cache")]
    assert main(["tune", *files, *options]) == 0
    return folder / "out"


def copied(tuned: Path, out: Path, changed: Mapping[str, bytes]) -> Path:
    """The artifact with some files changed, published properly."""
    manifest = open_artifact(tuned)
    files: dict[str, bytes | Path] = {name: tuned / name for name in manifest["files"]}
    publish(out, {**files, **changed}, {key: manifest[key] for key in manifest if key not in ("files", "format")})
    return out


@pytest.fixture
def single_lane(tuned: Path, tmp_path: Path) -> Path:
    """The same models, everything on one lane."""
    document = json.loads((tuned / "schedule.json").read_text())
    schedule = document["schedules"]["sequential"]
    for cluster in schedule["clusters"]:
        cluster["lanes"] = [[0] for _ in cluster["lanes"]]
    document["schedules"]["best"] = schedule
    return copied(tuned, tmp_path / "slow", {"schedule.json": json.dumps(document).encode()})


def listening() -> tuple[list[str], Callable[[str], None]]:
    said: list[str] = []
    return said, said.append


def test_pairs_of_an_artifact_and_its_slower_twin(tuned: Path, single_lane: Path) -> None:
    said, say = listening()
    found = measure(tuned, single_lane, PAIRS, 0, say)
    assert len(found.pairs) == PAIRS
    for pair in found.pairs:
        for run in pair:
            assert len(run.tenants_s) == len(NAMES)
            assert 0 < max(run.tenants_s) <= run.seconds
    assert {(row.tenant, row.error) for row in found.outputs} == {(name, 0.0) for name in NAMES}
    assert len(said) == 1 and said[0].startswith(f"{PAIRS} interleaved pairs, about ")


def test_who_goes_first_alternates(tuned: Path, single_lane: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    take = measuring._Turns.take

    def recorded(turns: Any) -> Any:
        taken.append(names[id(turns)])
        return replace(take(turns), seconds=float(len(taken)))

    names: dict[int, str] = {}
    begin = measuring._Turns.__init__

    def made(turns: Any, module: Any, order: list[str]) -> None:
        begin(turns, module, order)
        names[id(turns)] = module.artifact.folder.name

    monkeypatch.setattr(measuring._Turns, "__init__", made)
    monkeypatch.setattr(measuring._Turns, "take", recorded)
    found = measure(tuned, single_lane, 4, 0, lambda _: None)
    assert taken == ["out", "slow", "slow", "out"] * 2
    assert [(one.seconds, other.seconds) for one, other in found.pairs] == [(1, 2), (4, 3), (5, 6), (8, 7)]


def test_a_slower_artifact_is_exit_code_3(
    tuned: Path, single_lane: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is real but the clock: the new runs are told to have taken twice as long as they did."""

    def slowed(*arguments: Any) -> Measured:
        found = measure(*arguments)
        base = [one for one, _ in found.pairs]
        twice = (replace(run, seconds=2 * run.seconds, tenants_s=tuple(2 * s for s in run.tenants_s)) for run in base)
        return replace(found, pairs=tuple(zip(base, twice, strict=True)))

    monkeypatch.setattr(measuring, "measure", slowed)
    assert main(["check", str(tuned), str(single_lane), "--pairs", str(PAIRS), "--json"]) == 3
    captured = capsys.readouterr()
    found = json.loads(captured.out.splitlines()[-1])
    assert found["regression"] and found["decisions_changed"]
    assert [row["ratio"] for row in found["times"]] == pytest.approx([2.0] * 3)
    assert {change["what"] for change in found["changes"] if change["tenant"]} >= {"lanes by cluster"}
    assert captured.err.splitlines()[-1].startswith("regression: 100.0 % slower than the baseline (p = 0.0")


def test_an_artifact_against_itself_decides_the_same(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(tuned), str(tuned), "--pairs", "5", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["changes"], found["wrong_outputs"], found["times_not_compared"]) == ([], 0, [])
    assert len(found["times"]) == 3


def test_other_weights_are_found_by_their_outputs(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {
        name: np.ascontiguousarray(array * 1.5) for name, array in load_file(tuned / "weights.safetensors").items()
    }
    other = copied(tuned, tmp_path / "other", {"weights.safetensors": save(weights)})
    assert main(["check", str(tuned), str(other), "--pairs", "5", "--threshold", "9999%"]) == 3
    assert "outputs differ from the baseline's" in capsys.readouterr().out.splitlines()[-1]


class Gpu:
    """A session whose runs take 2 ms on the device; tenant 0 has marks before and behind its two slices."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, str]] = []

    def load(self, plan: str, marks: str) -> Any:
        self.loads.append((plan, marks))
        stamps = [(0, False), (0, True), (1, True), (0, True)]
        return SimpleNamespace(stamps=[(SimpleNamespace(tenant=t), 0, SimpleNamespace(behind=b), 0) for t, b in stamps])

    def seconds(self, _: Any) -> float:
        return 2e-3

    def times(self, _: Any) -> list[float]:
        return [1.9e-3, 0.5e-3, 1.5e-3, 0.7e-3]


def test_a_gpu_is_timed_by_its_own_events_and_tenants_by_their_last_mark() -> None:
    session = Gpu()
    workload = SimpleNamespace(target="cuda")
    module: Any = SimpleNamespace(workload=workload, session=session, tenants=["a", "b"], plan=str.upper)
    turns = measuring._Turns(module, ["b", "a"])
    run = turns.take()
    assert (run.seconds, run.tenants_s, turns.runs) == (2e-3, (1.5e-3, 0.7e-3), 5)
    assert session.loads == [("BEST", "tenants")]
