"""The command line of the models: what it writes, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from models import MODELS
from models.__main__ import main


def test_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)
    assert all(len(line.split()) > 3 for line in lines)


def test_write_publishes_each_model_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "dir"
    arguments = ["write", "tiny_mlp", "tiny_attention", "tiny_mlp", "--out", str(out), "--batch", "3"]
    assert main(arguments) == 0
    paths = [out / "tiny_mlp.onnx", out / "tiny_attention.onnx"]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert sorted(out.iterdir()) == sorted(paths)
    assert onnx.load(paths[0]) == MODELS["tiny_mlp"](batch=3)
    assert main(arguments) == 0


def test_unknown_model_is_one_line_that_lists_the_allowed_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["write", "tiny_mlp", "resnet49", "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"unknown model 'resnet49': allowed are {', '.join(MODELS)}\n"
    assert captured.out == ""
    assert not out.exists()


def test_batch_below_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", "tiny_mlp", "--out", str(tmp_path), "--batch", "0"]) == 2
    assert capsys.readouterr().err == "--batch 0: at least 1\n"


def test_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    assert main(["write", "tiny_mlp", "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"--out {out}: File exists\n"
    assert out.read_text() == "mine"


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny_mlp.onnx"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["write", "tiny_mlp", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"--out {tmp_path}: No space left on device\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_building_needs_numpy_and_onnx_only() -> None:
    """In a fresh interpreter, as `python -m models` starts."""
    code = "import sys; import models.__main__ as m; m.main(['list']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[0].startswith("alexnet")
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert {"numpy", "onnx"} <= loaded
    assert not loaded & {"tvm", "onnxruntime", "onnxslim", "scipy", "torch", "typer", "gacer_tune"}
