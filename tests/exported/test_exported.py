"""The check of exported models, on models that need no PyTorch."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from tests.exported import __main__ as command
from tests.exported import judging
from tests.support.build import model, node

UNKNOWN = model([node("NonZero", ["x"], ["y"])], {"x": (2, 3)}, ["y"], types={"y": onnx.TensorProto.INT64})


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(made, str(folder / "made.onnx"))
    return folder / "made.onnx"


def test_a_model_is_right_or_wrong_beside_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(models.MODELS["tiny_mlp"](), tmp_path)
    found = judging.judge(path)
    assert found.verdict == "right" and " 0 of them by TVM, differs by " in found.message
    reference = judging.run_onnxruntime
    monkeypatch.setattr(judging, "run_onnxruntime", lambda *given: {k: v * 1.001 for k, v in reference(*given).items()})
    found = judging.judge(path)
    assert found.verdict == "wrong" and found.message.endswith("differs by 1.0e-03 of its largest value")


def test_outputs_that_tell_nothing_are_no_proof(tmp_path: Path) -> None:
    nodes = [node("Abs", ["x"], ["a"]), node("Neg", ["a"], ["n"]), node("Relu", ["n"], ["y"])]
    found = judging.judge(saved(model(nodes, {"x": (2, 3)}, ["y"]), tmp_path))
    assert (found.verdict, found.message) == ("wrong", "the outputs tell nothing: each is one number")


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    found = judging.judge(saved(UNKNOWN, tmp_path))
    assert found.verdict == "refused" and "NonZero" in found.message


@pytest.mark.parametrize(
    ("ours", "wanted", "wrong"),
    [
        ([1.0, 2.0], [1.0, 2.00001], ""),
        ([1.0, 2.0], [1.0, 2.1], "y: differs by 4.8e-02 of its largest value"),
        ([1.0, np.nan], [1.0, np.nan], ""),
        ([1.0, 2.0], [1.0, np.nan], "y: not finite in the same places"),
        ([1, 2], [1, 3], "y: 1 of 2 differ"),
        ([[1, 2]], [1, 2], r"y: int64 (1, 2), not int64 (2,)"),
        ([0.0], [0.0], ""),
    ],
)
def test_differences(ours: list[float], wanted: list[float], wrong: str) -> None:
    found, _ = judging.differences({"y": np.asarray(ours)}, {"y": np.asarray(wanted)})
    assert found == [wrong] * bool(wrong)


def test_the_command_goes_on_behind_what_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In place of the Python that exports, a program that copies two models and fails for all others."""
    (tmp_path / "timm-dla34").write_bytes(models.MODELS["tiny_mlp"]().SerializeToString())
    (tmp_path / "timm-dpn68").write_bytes(UNKNOWN.SerializeToString())
    exporter = tmp_path / "exporter"
    exporter.write_text(f'#!/bin/sh\ncp {tmp_path}/$(echo "$3" | tr / -) "$4"\n')
    exporter.chmod(exporter.stat().st_mode | stat.S_IEXEC)
    given = ["--python", str(exporter), "--keep", str(tmp_path), "--only", "timm/(dla34|dpn68|gernet_s)$"]
    assert command.main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["right", "refused"]
    assert lines[2].startswith("not exported timm/gernet_s") and "exit code 1: cp: " in lines[2]
    assert lines[3] == "timm: 1 right, 1 refused, 1 not exported"
    assert (tmp_path / "timm-dla34.onnx").exists() and not list(tmp_path.glob("*.part"))


def test_what_gives_no_answer_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 0.1)
    (tmp_path / "timm-dla34.onnx").write_bytes(UNKNOWN.SerializeToString())
    assert command.main(["--keep", str(tmp_path), "--only", "timm/dla34"]) == 1
    assert " ".join(capsys.readouterr().out.split()) == "crash timm/dla34 no answer after 0 s timm: 1 crash"
