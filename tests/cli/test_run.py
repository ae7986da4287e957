"""gacer-tune run: inputs in, outputs out, compared with another runtime."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from gacer_tune.cli.arrays import checksum, read_arrays, write_arrays
from gacer_tune.errors import UserError
from gacer_tune.inputs import sample
from tests.cli.support import Cli, FakeModule
from tests.support.build import model, node


def test_a_run_shows_outputs_and_times(cli: Cli, artifact: Path, module: FakeModule) -> None:
    said = cli("run", artifact, "--seed", "5", "--json")
    assert said.code == 0
    assert module.ran == ["best", "best"]
    inputs = {tenant.name: sample(tenant, 5) for tenant in module.workload.tenants}
    expected = module.run(inputs)
    assert said.last["outputs"] == {f"{name}/y": checksum(row["y"]) for name, row in expected.items()}
    assert set(said.last["tenants_s"]) == {"det", "seg"}
    assert all(seconds > 0 for seconds in said.last["tenants_s"].values())
    assert said.last["seconds"] > 0
    assert f"│ det/y  │ float32 │    16 │ {said.last['outputs']['det/y']} │" in said.err
    assert "one run, with copying inputs and outputs: " in said.err


def test_another_schedule_of_the_artifact_can_be_run(cli: Cli, artifact: Path, module: FakeModule) -> None:
    assert cli("run", artifact, "--schedule", "lane_per_tenant").code == 0
    assert module.ran == ["lane_per_tenant"] * 2
    for name in ("front7", "alone/det"):
        refused = cli("run", artifact, "--schedule", name)
        assert refused.code == 2
        assert refused.err == (f"error: --schedule: '{name}' was given, allowed: best, sequential, lane_per_tenant\n")


def test_inputs_and_outputs_are_files(cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path) -> None:
    given, out = tmp_path / "in.npz", tmp_path / "out.npz"
    write_arrays(given, {name: {"x": np.full(16, 3, np.float32)} for name in module.tenants})
    assert cli("run", artifact, "--inputs", given, "--outputs", out).code == 0
    with np.load(out) as found:
        assert sorted(found.files) == ["det/y", "seg/y"]
        np.testing.assert_array_equal(found["det/y"], np.full(16, 3, np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "in.npz", "out.npz"]


_PORTS: dict[str, dict[str, tuple[tuple[int, ...], str]]] = {
    "det": {"x": ((2, 3), "float32")},
    "seg": {"i": ((4,), "int64")},
}
_GOOD = {"det/x": np.zeros((2, 3), np.float32), "seg/i": np.zeros(4, np.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"det/x": None}, "no det/x; it has seg/i"),
        ({"det/x": None, "seg/i": None}, "no det/x, seg/i; it has nothing"),
        ({"more": np.zeros(1)}, "unknown more; allowed: det/x, seg/i"),
        ({"det/x": np.zeros((3, 2), np.float32)}, "det/x: float32 3x2 was given, allowed: float32 2x3"),
        ({"seg/i": np.zeros(4, np.int32)}, "seg/i: int32 4 was given, allowed: int64 4"),
        ({"seg/i": np.int64(3)}, "seg/i: int64 scalar was given, allowed: int64 4"),
    ],
)
def test_wrong_inputs_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "in.npz"
    arrays = {key: value for key, value in {**_GOOD, **change}.items() if value is not None}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError) as refused:
        read_arrays(path, _PORTS)
    assert str(refused.value) == f"{path}: {message}"


def test_files_that_hold_no_plain_arrays_are_refused(tmp_path: Path) -> None:
    objects, text, single = tmp_path / "objects.npz", tmp_path / "text.npz", tmp_path / "single.npy"
    np.savez(objects, **{"det/x": np.array([{}], object)})  # type: ignore[arg-type]
    text.write_text("nothing")
    np.save(single, np.zeros(3))
    for path, message in (
        (tmp_path / "none.npz", "cannot be read: no such file or folder"),
        (objects, "not an .npz file of plain arrays: Object arrays cannot be loaded when allow_pickle=False"),
        (text, "not an .npz file of plain arrays: "),
        (single, "a single array, an .npz file with keys TENANT/INPUT is needed"),
    ):
        with pytest.raises(UserError) as refused:
            read_arrays(path, _PORTS)
        assert str(refused.value).startswith(f"{path}: {message}")


def test_a_checksum_is_of_the_values_in_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert checksum(array) == hashlib.sha256(array.tobytes()).hexdigest()[:16]
    assert checksum(array.T) == checksum(np.ascontiguousarray(array.T)) != checksum(array)


def _models(folder: Path, operator: str = "ReduceMean") -> tuple[Path, Path]:
    """Two models with symbolic shapes that compute what the fake module does, spread over 16 elements."""
    paths = folder / "det.onnx", folder / "seg.onnx"
    nodes = [
        node(operator, ["x"], ["m"], keepdims=1),
        node("Mul", ["zero", "x"], ["z"]),
        node("Add", ["z", "m"], ["y"]),
    ]
    for path in paths:
        onnx.save(model(nodes, {"x": ["N"]}, ["y"], {"zero": np.zeros(1, np.float32)}), path)
    return paths


def test_equal_results_pass(cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path) -> None:
    det, seg = _models(tmp_path)
    said = cli(
        "run", artifact, "--compare", "onnxruntime", "--models", f"det={det}", "--models", f"seg={seg}", "--json"
    )
    assert said.code == 0, said.err
    assert said.last["differing"] == 0
    assert [(row["tenant"], row["output"]) for row in said.last["compare"]] == [("det", "y"), ("seg", "y")]
    assert all(row["error"] < 1e-6 for row in said.last["compare"])
    assert module.ran == ["best", "best"]


def test_other_results_are_exit_code_3(cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path) -> None:
    det, seg = _models(tmp_path, "ReduceMax")
    said = cli(
        "run", artifact, "--compare", "onnxruntime", "--models", f"det={det}", "--models", f"seg={seg}", "--json"
    )
    assert said.code == 3
    assert said.last["differing"] == 2
    assert "differs" in said.err
    assert module.ran


def test_values_that_are_no_numbers_differ(cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path) -> None:
    det, seg = _models(tmp_path)
    module.skew = float("nan")
    said = cli(
        "run", artifact, "--compare", "onnxruntime", "--models", f"det={det}", "--models", f"seg={seg}", "--json"
    )
    assert said.code == 3
    assert [row["error"] for row in said.last["compare"]] == [None, None]


def test_what_is_tolerable_depends_on_the_precision(
    cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path
) -> None:
    det, seg = _models(tmp_path)
    compare = (
        "run",
        artifact,
        "--compare",
        "onnxruntime",
        "--models",
        f"det={det}",
        "--models",
        f"seg={seg}",
        "--json",
    )
    module.skew = 1.0
    module.skew = 0.02 / max(row["error"] for row in cli(*compare).last["compare"])
    found = cli(*compare)
    assert found.code == 3 and max(row["error"] for row in found.last["compare"]) == pytest.approx(0.02, rel=0.01)
    module.artifact = replace(module.artifact, manifest={**module.artifact.manifest, "precision": "bf16"})
    assert cli(*compare).code == 0


def test_another_model_is_refused(cli: Cli, artifact: Path, module: FakeModule, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(model([node("Relu", ["image"], ["y"])], {"image": [16]}, ["y"]), other)
    arguments = ("run", artifact, "--compare", "onnxruntime", "--models", f"seg={other}")
    said = cli(*arguments, "--models", f"det={other}")
    assert (said.code, said.err) == (2, f"error: {other}: inputs image, the artifact has x\n")
    onnx.save(model([node("Relu", ["x"], ["z"])], {"x": [16]}, ["z"]), other)
    said = cli(*arguments, "--models", f"det={other}")
    assert (said.code, said.err) == (2, f"error: {other}: no output 'y': not the model that det was made from\n")
    onnx.save(model([node("MatMul", ["x", "w"], ["y"])], {"x": [3]}, ["y"], {"w": np.zeros((3, 2), np.float32)}), other)
    said = cli(*arguments, "--models", f"det={other}")
    assert said.code == 2
    assert said.err.startswith(f"error: {other}: ONNX Runtime cannot run it with the artifact's inputs: ")
    assert module.ran


def test_without_the_peer_its_extra_is_named(
    cli: Cli, artifact: Path, module: FakeModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gacer_tune.cli.compare.find_spec", lambda _: None)
    det, seg = _models(tmp_path)
    said = cli("run", artifact, "--compare", "onnxruntime", "--models", f"det={det}", "--models", f"seg={seg}")
    assert said.code == 2
    assert said.err == "error: --compare onnxruntime: it is not installed: pip install 'gacer-tune[peers]'\n"
    assert module.ran
