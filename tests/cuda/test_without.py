"""Where nothing of NVIDIA's is installed: all modules can be imported, the CPU works, a GPU is refused clearly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import models
from tests.test_structure import modules

ROOT = Path(__file__).parent.parent.parent
HIDDEN = ("cuda", "nvidia", "pynvml")
PROGRAM = "gacer_tune.__main__"


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Of a process, and all that it starts, in which these packages are not found."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({HIDDEN}))\n")
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "GACER_TUNE_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_they_are_hidden(tmp_path: Path) -> None:
    for name in HIDDEN:
        assert "ModuleNotFoundError" in python(tmp_path, "-c", f"import {name}").stderr


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    names = [name for name, _ in modules() if name != PROGRAM]
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--budget", "1s", "--trials", "2"], 0, "module.so"),
        (["--target", "cuda", "--simulate", "h100", "--trials", "4"], 0, "schedule.json"),
        (["--target", "cuda"], 2, "target cuda needs cuda-bindings"),
    ],
)
def test_tune(tmp_path: Path, options: list[str], code: int, said: str) -> None:
    onnx.save(models.MODELS["tiny_mlp"](), str(tmp_path / "tiny.onnx"))
    done = python(tmp_path, "-m", "gacer_tune", "tune", "tiny.onnx", *options, "-o", "out")
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert (tmp_path / "out" / "schedule.json").exists() == (code == 0)
