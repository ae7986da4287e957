"""gacer-tune bench: what it prints, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gacer_tune.bench import compare, peers
from gacer_tune.bench.figures import Comparison
from gacer_tune.bench.system import System
from tests.cli.support import Cli

KEYS = {
    "tenants", "ours_s", "ours_sequential_s", "peers", "best_peer", "ratio_best_peer", "ratio_per_peer", "best_modes",
    "systems", "errors", "wrong", "skipped", "versions", "rounds", "machine", "others",
    "precision",
}  # fmt: skip


def test_a_comparison_for_people_and_machines(cli: Cli, artifact: Path) -> None:
    said = cli("bench", artifact, "--against", "onnxruntime", "--rounds", "5", "--json")
    assert said.code == 0, said.err
    found = said.last
    assert set(found) == KEYS
    assert found["tenants"] == ["tiny_branchy", "tiny_mlp"]
    assert len(found["peers"]) == 5
    assert all(0 < seconds < 1 for seconds in (found["ours_s"], found["ours_sequential_s"], *found["peers"].values()))
    assert found["ratio_best_peer"] == min(found["ratio_per_peer"].values()) > 0
    assert {line["rounds"] for line in found["systems"]} == {5}
    assert all(line["min_s"] <= line["median_s"] and 0 < line["p_value"] <= 1 for line in found["systems"])
    assert all(error < 1e-5 for row in found["errors"].values() for error in row.values())
    assert set(found["errors"]["onnxruntime sequential"]) == {"tiny_branchy/output", "tiny_mlp/output"}
    assert {"onnxruntime", "apache-tvm", "gacer-tune"} == set(found["versions"])
    assert set(found["machine"]) == {"cpu", "isa", "lanes", "cores"}
    assert "│ onnxruntime sequential " in said.err
    assert "the best peer (" in said.err
    assert "round" in said.err or "loading" in said.err


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the results of one system wrong."""

    def skew(name: str) -> None:
        real = peers.opened

        def opened(*arguments: Any) -> tuple[list[System], dict[str, str]]:
            systems, refused = real(*arguments)
            return [replace(s, run=_one_off(s)) if s.name == name else s for s in systems], refused

        monkeypatch.setattr(peers, "opened", opened)

    return skew


def _one_off(system: System) -> Callable[[], Any]:
    return lambda: {t: {o: array + 1 for o, array in row.items()} for t, row in system.run().items()}


def test_wrong_results_of_a_peer_are_reported(cli: Cli, artifact: Path, skewed: Callable[[str], None]) -> None:
    skewed("onnxruntime sequential")
    said = cli("bench", artifact, "--against", "onnxruntime", "--rounds", "1", "--json")
    assert said.code == 3
    assert said.last["wrong"] == [f"onnxruntime sequential: {t}/output" for t in ("tiny_branchy", "tiny_mlp")]
    assert "results differ from ours: onnxruntime sequential: tiny_mlp/output" in said.err
    assert said.last["peers"]["onnxruntime sequential"] > 0, "measured all the same"


def test_what_was_left_out_or_disturbed_is_said(cli: Cli, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = compare.compare

    def disturbed(*arguments: Any) -> Comparison:
        found = real(*arguments)
        slow = tuple(replace(line, rounds=1) if "parallel" in line.name else line for line in found.lines)
        return replace(found, lines=slow, skipped={"openvino": "det: no such operator"}, others=1.25)

    monkeypatch.setattr(compare, "compare", disturbed)
    said = cli("bench", artifact, "--against", "onnxruntime", "--rounds", "2")
    assert said.code == 0
    assert "openvino was left out, it cannot run det: no such operator" in said.out
    assert "timed in few rounds only: onnxruntime parallel, 1 thread each, onnxruntime parallel, default" in said.out
    assert "other processes or guests of the host used 1.2 cores meanwhile: compare again on a quiet" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "tensorrt"],
         "--against: 'tensorrt' was given, allowed: onnxruntime, openvino, tvm, separated by commas"),
        (["--against", "onnxruntime,"],
         "--against: '' was given, allowed: onnxruntime, openvino, tvm, separated by commas"),
        (["--against", "onnxruntime", "--models", "det=x.onnx"],
         "--models det=x.onnx: no tenant 'det', the tenants are: tiny_branchy, tiny_mlp"),
        (["--against", "onnxruntime", "--models", "tiny_mlp=none.onnx"],
         "tiny_mlp: none.onnx is not there; name the original model: --models tiny_mlp=MODEL.onnx"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_message(cli: Cli, artifact: Path, arguments: list[str], message: str) -> None:
    said = cli("bench", artifact, *arguments)
    assert (said.code, said.out, said.err) == (2, "", f"error: {message}\n")


def test_no_artifact_is_refused(cli: Cli, tmp_path: Path) -> None:
    said = cli("bench", tmp_path / "none", "--against", "onnxruntime")
    assert (said.code, said.err) == (2, f"error: {tmp_path / 'none'}: no such folder\n")
    assert "invalid value for '--rounds'" in cli("bench", tmp_path, "--rounds", "0").err


def test_a_peer_that_is_not_installed_names_the_extra(
    cli: Cli, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: name == "onnxruntime" or None)
    said = cli("bench", artifact, "--against", "onnxruntime,openvino")
    assert said.code == 2
    assert said.err == "error: --against openvino: it is not installed: pip install 'gacer-tune[peers]'\n"
    assert peers.chosen(None) == ("onnxruntime",)
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    said = cli("bench", artifact)
    assert said.code == 2
    assert said.err == (
        "error: nothing to compare with: onnxruntime and openvino are not installed: pip install 'gacer-tune[peers]'\n"
    )
