"""What the user gives and cannot be used: one message that names it, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from gacer_tune.cli import main
from gacer_tune.executor import threads
from gacer_tune.store import fingerprint
from tests.support.compiled import FOLDER

CACHE = ["--cache", str(FOLDER / "tune-cache")]


def model(nodes: list[onnx.NodeProto], shape: list[int | str], *constants: onnx.TensorProto) -> onnx.ModelProto:
    """x -> y through the nodes."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "bad", [given], [made], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tiny(path: Path) -> Path:
    path.write_bytes(models.MODELS["tiny_mlp"]().SerializeToString())
    return path


def save(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def missing(folder: Path) -> Path:
    return folder / "no.onnx"


def not_onnx(folder: Path) -> Path:
    path = folder / "text.onnx"
    path.write_text("this is a text, and a long one, about something else entirely")
    return path


def truncated(folder: Path) -> Path:
    path = tiny(folder / "cut.onnx")
    path.write_bytes(path.read_bytes()[:-500])
    return path


def unsupported(folder: Path) -> Path:
    nodes = [helper.make_node("Det", ["x"], ["d"], name="volume"), helper.make_node("Relu", ["d"], ["y"])]
    return save(folder / "unsupported.onnx", model(nodes, [3, 2, 2]))


def dynamic(folder: Path) -> Path:
    return save(folder / "dynamic.onnx", model([helper.make_node("Relu", ["x"], ["y"])], ["batch", 4]))


def zero_size(folder: Path) -> Path:
    return save(folder / "zero.onnx", model([helper.make_node("Relu", ["x"], ["y"])], [0, 4]))


def escaping(folder: Path) -> Path:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../outside.bin"), ("offset", "0"), ("length", "64")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    (folder.parent / "outside.bin").write_bytes(b"\0" * 64)
    return save(folder / "escaping.onnx", model([helper.make_node("MatMul", ["x", "w"], ["y"])], [2, 4], weight))


BAD_MODELS: list[tuple[Callable[[Path], Path], str]] = [
    (missing, r"no\.onnx: no such file"),
    (not_onnx, r"text\.onnx: not an ONNX model"),
    (truncated, r"cut\.onnx: .*truncated"),
    (unsupported, r"unsupported\.onnx: unsupported operators: Det: volume"),
    (dynamic, r"dynamic\.onnx: .*x.*batch.*--shape"),
    (zero_size, r"zero\.onnx: .*x.*0"),
    (escaping, r"escaping\.onnx: .*w.*\.\./outside\.bin"),
]


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command, expect exit code 2, return its one message."""
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(("make", "message"), BAD_MODELS)
def test_bad_models(
    make: Callable[[Path], Path], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    said = error(capsys, "tune", str(make(folder)), "--out", str(tmp_path / "out"), *CACHE)
    assert re.search(message, said), said
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_duplicate_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tiny(tmp_path / "one.onnx"), tiny(tmp_path / "other.onnx")
    said = error(capsys, "tune", f"a={one}", f"a={other}", "--out", str(tmp_path / "out"), *CACHE)
    assert "'a'" in said or " a " in said


def test_unknown_key_in_the_workload_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny(tmp_path / "m.onnx")
    (tmp_path / "w.yaml").write_text("tenants: [m.onnx]\nbugdet: 2m\n")
    said = error(capsys, "tune", "-c", str(tmp_path / "w.yaml"), *CACHE)
    assert "bugdet" in said and "budget" in said


def test_more_lanes_than_cores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cores = len(threads.allowed_cpus())
    path = tiny(tmp_path / "m.onnx")
    said = error(capsys, "tune", str(path), "--lanes", str(cores + 1), "--out", str(tmp_path / "out"), *CACHE)
    assert f"lanes: {cores + 1}, this process may use {cores} cores" in said


def test_output_below_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny(tmp_path / "m.onnx")
    (tmp_path / "file").write_text("in the way")
    said = error(capsys, "tune", str(path), "--out", str(tmp_path / "file" / "out"), *CACHE)
    assert str(tmp_path / "file") in said


def test_read_only_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """/proc takes no files, whoever asks."""
    path = tiny(tmp_path / "m.onnx")
    assert "/proc/out" in error(capsys, "tune", str(path), "--out", "/proc/out", *CACHE)


def test_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that has no more room."""
    path, out = tiny(tmp_path / "m.onnx"), tmp_path / "out"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"from gacer_tune.cli import main; sys.exit(main(['tune', {str(path)!r}, '--out', {str(out)!r}]))"
    )
    environment = {**os.environ, "GACER_TUNE_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert not (out / "manifest.json").exists()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    options = ["--budget", "60s", "--trials", "4", "--out", str(folder / "out"), *CACHE]
    assert main(["tune", str(tiny(folder / "m.onnx")), *options]) == 0
    return folder / "out"


@pytest.mark.parametrize("name", ["module.so", "weights.safetensors", "schedule.json"])
def test_tampered_artifact(name: str, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    shutil.copytree(artifact, folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    said = error(capsys, "run", str(folder))
    assert name in said and "sha256" in said


def test_artifact_of_another_processor(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "isa_of", lambda _: "x86-64")
    manifest = json.loads((artifact / "manifest.json").read_text())
    if manifest["isa"] == "x86-64":
        pytest.skip("this processor has the least of the instruction sets")
    said = error(capsys, "run", str(artifact))
    assert f"compiled for {manifest['isa']}, this processor has x86-64" in said
